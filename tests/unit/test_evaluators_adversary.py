"""The metrics of the adversarial pair, by hand, on a table of candidates as filters leave it."""

import math
from types import SimpleNamespace

import pytest

from textmad.errors import RecipeError
from textmad.evaluators import METRICS, Adversary
from textmad.evaluators.metrics import MEASURED, value_range
from textmad.recipe.components import read_component
from textmad.testing import check_evaluator
from textmad.text.documents import documents


def measured(columns, **settings):
    num = len(next(iter(columns.values())))
    table = documents({"text": ["x"] * num, **columns})
    found = Adversary(**settings)(SimpleNamespace(candidates=table))
    assert {(m.metric, m.split) for m in found} <= MEASURED["adversary"]
    return {(m.metric, m.bin): m for m in found}


JUDGED = {
    "beats_human_held_out": [0.2, None, 0.4, None],
    "beats_human_crowd": [None, 0.7, 0.5, None],
    "beats_human_discriminator": [0.9, 0.8, 0.4, None],  # the last was rejected before
    "discriminator_accepts": [True, True, False, None],
    "check_accepts": [0, 1, -1, None],
}


def test_each_judge_has_the_mean_over_the_candidates_that_it_was_asked_about():
    found = measured(JUDGED)
    beats = {judge: m.value for (metric, judge), m in found.items() if metric == "beats_human"}
    assert beats == pytest.approx({"held_out": 0.3, "crowd": 0.6, "discriminator": 0.7})
    assert found["beats_human", "crowd"].n == 2
    assert found["accepted_share", "discriminator"].value == pytest.approx(2 / 3)
    assert found["accepted_share", "crowd"].value == pytest.approx(1 / 2)


def test_over_optimisation_is_the_judges_liking_less_that_of_the_judge_held_out():
    assert measured(JUDGED)["over_optimisation_gap", ""].value == pytest.approx(0.7 - 0.3)
    of_crowd = measured(JUDGED, judge="crowd")["over_optimisation_gap", ""]
    assert of_crowd.value == pytest.approx(0.6 - 0.3)
    low, _ = value_range(METRICS["over_optimisation_gap"])
    assert low == -math.inf  # a generator may please others more than its judge


def test_what_was_not_judged_is_no_number_and_says_why():
    found = measured({"kept": [True]})
    assert all(math.isnan(m.value) for m in found.values())
    gap = found["over_optimisation_gap", ""]
    assert gap.note == "no column beats_human_discriminator"
    assert found["beats_human", "held_out"].note == "held_out judged nothing in this generation"
    alone = measured({"beats_human_discriminator": [0.5]})
    assert alone["over_optimisation_gap", ""].note == "no column beats_human_held_out"


def test_the_judge_itself_is_not_held_out():
    with pytest.raises(RecipeError) as caught:
        read_component({"adversary": {"judge": "crowd", "held_out": "crowd"}}).build("evaluator")
    assert str(caught.value) == ("adversary.held_out: crowd: is the judge itself: expected another")


def test_the_shipped_evaluator_keeps_the_contract():
    check_evaluator(Adversary())
