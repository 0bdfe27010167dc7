"""The metrics of votes, by hand, on a table of candidates as filters leave it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from textmad.curation import Author, Context, Upvotes, apply_filters
from textmad.evaluators import METRICS, Votes
from textmad.evaluators.votes import gini
from textmad.testing import check_evaluator
from textmad.text.documents import documents

NOTHING = documents({"text": []})


def measured(candidates, crawled=NOTHING):
    found = Votes()(SimpleNamespace(candidates=candidates, crawled=crawled))
    return {(m.metric, m.split, m.bin): m for m in found}


def table(**columns):
    num = len(columns["kept"])
    return documents({"text": ["x"] * num, "origin": ["model"] * num} | columns)


VOTED = table(
    kept=[True, True, False, False, False],
    votes=[6.0, 2.0, 0.0, -2.0, None],
    ups=[8, 4, 2, 2, None],
    quality=[2.0, 1.0, 0.0, -3.0, None],
    reward_variety=[0.9, 0.7, 0.5, 0.3, None],
    origin=["model", "human", "model", "human", "model"],
)


def test_votes_of_drawn_and_of_kept_documents_by_quantile():
    found = measured(VOTED)
    drawn = [found["votes", "drawn", name].value for name in ("lowest", "25%", "median", "highest")]
    assert drawn == [-2, -0.5, 1, 6]
    assert found["votes", "kept", "median"].value == 4
    assert (found["votes", "drawn", "median"].n, found["votes", "kept", "median"].n) == (4, 2)


def test_the_gini_coefficient_is_the_mean_difference_by_twice_the_mean():
    ups = [8, 4, 2, 2]
    differences = [abs(a - b) for a in ups for b in ups]
    expected = np.mean(differences) / (2 * np.mean(ups))
    assert measured(VOTED)["votes_gini", "drawn", ""].value == pytest.approx(expected)
    assert gini(np.array([3.0, 3.0])) == 0
    assert gini(np.eye(1, 1000)[0]) == pytest.approx(0.999)


def test_upvotes_are_shared_between_the_origins():
    found = measured(VOTED)
    assert found["votes_share", "drawn", "model"].value == 10 / 16
    assert found["votes_share", "drawn", "human"].value == 6 / 16


def test_agreement_is_the_rank_correlation_of_votes_and_quality():
    assert measured(VOTED)["votes_agreement", "drawn", ""].value == pytest.approx(1)
    turned = table(kept=[True] * 4, votes=[1.0, 2.0, 3.0, 4.0], quality=[4.0, 3.0, 1.0, 2.0])
    # Ranks differ by 3, 1, 2, 2: 1 - 6 x 18 / (4 x 15).
    assert measured(turned)["votes_agreement", "drawn", ""].value == pytest.approx(1 - 6 * 18 / 60)


def test_mean_and_variance_of_the_reward_before_and_after_the_choice():
    found = measured(VOTED)
    assert found["reward_mean", "drawn", "variety"].value == pytest.approx(0.6)
    assert found["reward_mean", "kept", "variety"].value == pytest.approx(0.8)
    assert found["reward_variance", "drawn", "variety"].value == pytest.approx(0.05)
    assert found["reward_variance", "kept", "variety"].value == pytest.approx(0.01)


def test_the_last_crowd_is_measured_and_a_scorer_that_was_asked_twice_once():
    nothing = documents({"text": []})

    def context(place, name):
        rng = np.random.default_rng(place)
        return Context(
            0, rng, nothing, lambda g: nothing, lambda t: [], lambda t: [], lambda t: [], 1
        )

    texts = ["tea " * (i % 7) + "milk rain" for i in range(40)]
    given = documents({"text": texts, "id": [f"g0-{i}" for i in range(40)]})
    filters = [
        ("author", Author(2, "variety", noise=0)),
        ("upvotes", Upvotes("variety", voters=10, noise=0, keep=0.5)),
        ("upvotes", Upvotes("toxicity", voters=3, keep=0.5)),
    ]
    found = measured(apply_filters(given, filters, context))
    assert {key[2] for key in found if key[0] == "reward_mean"} == {"variety", "toxicity"}
    assert found["reward_mean", "drawn", "variety"].n == 40
    assert found["reward_mean", "drawn", "toxicity"].n == 10
    assert found["votes_gini", "drawn", ""].n == 10


@pytest.mark.parametrize(
    "candidates", [table(kept=[True, False]), documents({"text": []}), table(kept=[])]
)
def test_without_votes_every_value_is_nan_with_the_reason(candidates):
    found = measured(candidates)
    assert {metric for metric, _, _ in found} == {m for m in METRICS if m[:4] in ("vote", "rewa")}
    assert all(math.isnan(m.value) for m in found.values())
    assert {m.note for m in found.values()} == {
        "no such values: no filter voted, or all votes are equal"
    }


def test_votes_that_are_all_equal_agree_with_nothing():
    found = measured(table(kept=[True] * 3, votes=[0.0] * 3, ups=[0] * 3, quality=[1.0, 2.0, 3.0]))
    assert math.isnan(found["votes_agreement", "drawn", ""].value)
    assert math.isnan(found["votes_gini", "drawn", ""].value)
    assert found["votes", "drawn", "median"].value == 0


def test_the_evaluator_keeps_the_contract():
    check_evaluator(Votes())


def test_in_a_crawl_votes_are_shared_between_the_true_origins():
    crawled = table(
        kept=[True] * 3,
        origin=["human"] * 3,
        true_origin=["human", "human", "model"],
        ups=[3, 2, 5],
        ups_2=[1, None, 3],  # of the second crowd; the last one counts
    )
    found = measured(VOTED, crawled)
    assert found["votes_share", "crawled", "model"].value == 3 / 4
    assert found["votes_share", "crawled", "human"].value == 1 / 4
    assert found["votes_share", "drawn", "model"].value == 10 / 16
    unvoted = measured(VOTED, crawled.remove_columns(["ups", "ups_2"]))
    assert math.isnan(unvoted["votes_share", "crawled", "model"].value)
    assert ("votes_share", "crawled", "model") not in measured(VOTED)
