"""The metrics of the discriminator, by hand, on a table of candidates as the filter leaves it."""

import math
from types import SimpleNamespace

import pytest

from textmad.evaluators import METRICS, Discriminator
from textmad.testing import check_evaluator
from textmad.text.documents import documents


def measured(candidates):
    found = Discriminator()(SimpleNamespace(candidates=candidates))
    assert {m.split for m in found} == {"drawn"}
    return {m.metric.removeprefix("discriminator_"): m for m in found}


def table(check, accepts, probability, lessons=70):
    num = len(check)
    return documents(
        {
            "text": ["x"] * (num + 1),
            "kept": [False] * (num + 1),
            "check_accepts": [*check, None],  # the last was rejected before
            "discriminator_accepts": [*accepts, None],
            "accept_probability": [*probability, None],
            "lessons": [*[lessons] * num, None],
        }
    )


CHECKED = table(
    check=[1, 1, -1, -1, -1, 0],
    accepts=[True, False, True, False, False, True],
    probability=[0.9, 0.3, 0.6, 0.2, 0.1, 0.8],
)


def test_agreement_is_counted_on_the_documents_of_the_check():
    found = measured(CHECKED)
    assert found["agreement"].value == pytest.approx(3 / 5)
    assert found["both"].value == pytest.approx(1 / 5)
    assert found["lessons"].value == 70
    assert {found[name].n for name in ("agreement", "kappa", "auc", "both")} == {5}


def test_kappa_is_agreement_beyond_that_of_chance():
    # Both accept two of five: by chance they agree on (2/5)^2 + (3/5)^2.
    chance = 4 / 25 + 9 / 25
    assert measured(CHECKED)["kappa"].value == pytest.approx((3 / 5 - chance) / (1 - chance))


def test_auc_is_the_share_of_pairs_in_the_right_order():
    # 0.9 is above all three, 0.3 above two of three.
    assert measured(CHECKED)["auc"].value == pytest.approx(5 / 6)


def test_a_check_of_one_kind_has_an_agreement_but_no_auc():
    found = measured(table([1, 1], [True, False], [0.9, 0.1]))
    assert found["agreement"].value == 0.5
    for name in ("kappa", "auc"):
        assert math.isnan(found[name].value)
        assert found[name].note == "the crowd accepts all of the check or none"


def test_without_a_check_there_is_nothing_to_agree_on():
    found = measured(table([0, 0], [True, False], [0.9, 0.1]))
    assert found["lessons"].value == 70
    for name in ("agreement", "kappa", "auc", "both"):
        assert math.isnan(found[name].value)
        assert found[name].note == "no votes to check with: lower budget, or raise check"


@pytest.mark.parametrize("given", [documents({"text": ["x"]}), documents({"text": []})])
def test_without_a_discriminator_every_value_is_nan_with_the_reason(given):
    found = measured(given)
    assert {f"discriminator_{name}" for name in found} == {m for m in METRICS if "discrim" in m}
    assert {m.note for m in found.values()} == {"no filter discriminator"}


def test_the_evaluator_keeps_the_contract():
    check_evaluator(Discriminator())
