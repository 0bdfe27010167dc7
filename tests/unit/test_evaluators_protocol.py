import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from textmad.errors import EvaluationError
from textmad.evaluators import METRICS, Measurement, Snapshot, measure, metric_path
from textmad.evaluators.diversity import Diversity
from textmad.evaluators.perplexity import Perplexity
from textmad.evaluators.rare_tokens import RareTokens

SNAPSHOT = SimpleNamespace(generation=3)


def test_a_plain_dictionary_becomes_measurements():
    found = measure("mine", lambda snapshot: {"a": 1, "b": np.float32(0.5)}, SNAPSHOT)
    assert found == [Measurement("a", 1.0), Measurement("b", 0.5)]
    assert all(type(m.value) is float for m in found)


def test_measurements_are_taken_as_they_are():
    given = [Measurement("a", 1.0, "drawn", "rarest", 7), Measurement("a", math.inf, "kept")]
    assert measure("mine", lambda snapshot: given, SNAPSHOT) == given


def test_nan_in_a_plain_dictionary_gets_a_note():
    (found,) = measure("mine", lambda snapshot: {"a": math.nan}, SNAPSHOT)
    assert math.isnan(found.value)
    assert found.note == "mine gave NaN"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (0.5, "returned float: expected {metric: number} or a list of textmad.Measurement"),
        ([0.5], "returned list: expected {metric: number} or a list of textmad.Measurement"),
        (None, "returned NoneType: expected {metric: number} or a list of textmad.Measurement"),
        ({"a": "0.5"}, "a: '0.5': expected a number"),
        ({"a": True}, "a: True: expected a number"),
        ({"": 0.5}, "metric: '': expected a name"),
        ([Measurement("a", 1)] * 2, "a (split 'all', bin ''): measured twice: expected once"),
    ],
)
def test_anything_but_numbers_is_an_error(returned, message):
    with pytest.raises(EvaluationError) as caught:
        measure("mine", lambda snapshot: returned, SNAPSHOT)
    assert str(caught.value) == f"evaluator mine, generation 3: {message}"


def test_an_error_in_an_evaluator_names_evaluator_and_generation():
    def broken(snapshot):
        return {"a": 1 / 0}

    with pytest.raises(EvaluationError) as caught:
        measure("m:broken", broken, SNAPSHOT)
    line = broken.__code__.co_firstlineno + 1
    assert str(caught.value) == (
        "evaluator m:broken, generation 3: raised ZeroDivisionError: division by zero "
        f"({__file__}, line {line}, in broken)"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_nan_without_a_note_is_an_error():
    with pytest.raises(ValueError, match="a: NaN: expected a number, or a note"):
        Measurement("a", math.nan)


def snapshot(**changes):
    given = dict.fromkeys(("model", "base", "held_out", "human", "training", "rng"))
    return Snapshot(
        **(given | {"generation": 0, "texts": {}, "num_documents": 1, "num_words": 1} | changes)
    )


def test_once_a_run_computes_again_only_for_another_base_or_key():
    base, cache, calls = object(), {}, []

    def compute():
        calls.append(1)
        return len(calls)

    values = [
        snapshot(base=base, run_cache=cache, generation=0).once_a_run("x", compute),
        snapshot(base=base, run_cache=cache, generation=1).once_a_run("x", compute),
        snapshot(base=base, run_cache=cache).once_a_run("y", compute),
        snapshot(base=object(), run_cache=cache).once_a_run("x", compute),
        snapshot(base=base).once_a_run("x", compute),
    ]
    assert values == [1, 1, 2, 3, 4]


def test_once_keeps_a_result_to_its_snapshot():
    first, second = snapshot(), snapshot()
    assert first.once("x", lambda: 1) == 1
    assert first.once("x", lambda: 2) == 1
    assert second.once("x", lambda: 2) == 2


def test_every_metric_has_a_direction_and_a_label_of_its_own():
    assert all(name == metric.name for name, metric in METRICS.items())
    directions = {metric.direction for metric in METRICS.values()}
    assert directions == {"lower", "higher", "human", "none"}
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perplexity(held_out_tokens=0), "held_out_tokens: 0: expected at least 1"),
        (lambda: RareTokens(held_out_tokens=-5), "held_out_tokens: -5: expected at least 1"),
        *(
            (
                partial(make, held_out_tokens=size),
                f"held_out_tokens: {size}: expected a number of tokens, or a precision above 0% "
                "and below 100%, such as 2%",
            )
            for make in (Perplexity, RareTokens)
            for size in ("many", "auto", "0%", "100%", "2", "-1%")
        ),
        (lambda: Diversity(mattr_window=1), "mattr_window: 1: expected at least 2"),
        (lambda: Diversity(overlap_words=0), "overlap_words: 0: expected at least 1"),
        (lambda: metric_path("bleu"), "bleu: expected one of diversity, perplexity, rare_tokens"),
    ],
)
def test_a_setting_out_of_range_is_an_error(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
