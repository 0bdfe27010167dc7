"""Ranking rules and choices against values worked by hand."""

import numpy as np
import pytest

from textmad.curation import Choice, Context, Upvotes
from textmad.curation.ranking import add_gumbel_noise, choose, hot, rank_score, wilson
from textmad.text.documents import documents


def counts(*values):
    return np.array(values, dtype=np.int64)


def scores(rule, ups, downs, voters=10):
    given = {"posted": np.zeros(len(ups)), "quality": np.arange(float(len(ups)))}
    return rank_score(rule, counts(*ups), counts(*downs), voters=voters, **given).tolist()


def test_the_plain_rules():
    assert scores("net", [6, 0], [2, 0]) == [0.4, 0.0]
    assert scores("share", [6, 0], [2, 0]) == [0.75, 0.0]
    assert scores("likes", [6, 0], [2, 0]) == [0.6, 0.0]
    assert scores("quality", [6, 0], [2, 0]) == [0.0, 1.0]


def test_wilsons_bound_by_hand():
    # z = 2, 8 up of 16: p = 1/2, z²/n = 1/4. Centre 1/2 + 1/8, margin 2 sqrt(1/64 + 1/256)
    # = sqrt(5)/8; all by 5/4.
    assert wilson(counts(8), counts(8), z=2)[0] == pytest.approx((5 / 8 - np.sqrt(5) / 8) / 1.25)
    # All up: (1 + z²/2n - z²/2n) / (1 + z²/n) = n / (n + z²).
    assert wilson(counts(12), counts(0), z=2)[0] == pytest.approx(12 / 16)
    # None up: the bound is 0, and it is 0 without votes.
    assert wilson(counts(0, 0), counts(5, 0)) == pytest.approx([0, 0])


def test_wilson_prefers_many_good_votes_to_one():
    one, many = wilson(counts(1, 90), counts(0, 10))
    assert one < many


def test_hot_by_hand():
    net, posted = counts(1000, 10, 0, 1, -100), np.array([0.0, 90_000, 45_000, 0, 450_000])
    # 3 + 0; 1 + 2; 0 + 1; log10(1) = 0; -2 + 10
    assert hot(net, posted) == pytest.approx([3, 3, 1, 0, 8])


def test_documents_are_posted_over_the_hours_that_are_set_or_when_they_say():
    nothing = documents({"text": []})
    ids = [f"g0-{i}" for i in range(1000)]

    def verdicts(**columns):
        rng = np.random.default_rng(0)
        context = Context(
            0, rng, nothing, lambda g: nothing, lambda t: [], lambda t: [], lambda t: [], 1
        )
        texts = documents({"text": ["a"] * 1000, "id": ids, **columns})
        # Nobody's votes differ: equal quality, no noise, so that hot is time alone.
        return Upvotes(scorer="variety", noise=0, voters=1, rank="hot")(texts, context)

    drawn = verdicts().score  # log10(1) = 0, and 12.5 hours are 45,000 seconds
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    times = np.arange(1000) * 45.0
    assert verdicts(time=times).score.tolist() == (times / 45_000).tolist()
    # Where some are missing, the others keep theirs; the missing lie evenly between them.
    some = times + 9_000.0
    some[::2] = np.nan
    score = verdicts(time=some).score
    assert score[1::2].tolist() == (some[1::2] / 45_000).tolist()
    first, last = np.nanmin(some) / 45_000, np.nanmax(some) / 45_000
    assert first <= score[::2].min() < score[::2].max() <= last
    assert score[::2].mean() == pytest.approx((first + last) / 2, abs=0.06)  # 4.6 standard errors


def test_of_two_bradley_and_terrys_probability_wins():
    rng = np.random.default_rng(0)
    score = np.tile([1.0, 0.0], 20_000)
    noisy = add_gumbel_noise(score, 0.5, rng.random(40_000))
    wins = (noisy[::2] > noisy[1::2]).mean()
    # 1 / (1 + exp(-(1 - 0) / 0.5)); standard deviation 0.0023
    assert wins == pytest.approx(1 / (1 + np.exp(-2)), abs=0.01)


def kept(choice, score, keep, seed=0):
    rng = np.random.default_rng(seed)
    draws = [rng.random(len(score)) for _ in range(2)]
    return choose(choice, score, np.argsort(-score, kind="stable"), keep, draws)


@pytest.mark.parametrize("by", ["top", "softmax", "bradley_terry"])
@pytest.mark.parametrize(("num", "keep", "expected"), [(100, 0.25, 25), (11, 0.3, 3), (0, 0.5, 0)])
def test_every_choice_by_share_keeps_exactly_that_many(by, num, keep, expected):
    assert kept(Choice(by), np.arange(float(num)), keep).sum() == expected


def test_a_threshold_keeps_what_reaches_it():
    choice = Choice("threshold", threshold=0.5)
    assert kept(choice, np.array([0.4, 0.5, 0.6]), 0.25).tolist() == [False, True, True]


def test_towards_temperature_zero_the_best_are_chosen():
    score = np.random.default_rng(1).permutation(60).astype(float)
    assert kept(Choice("softmax", 1e-6), score, 0.25).tolist() == (score >= 45).tolist()
    winners = kept(Choice("bradley_terry", 1e-6), score, 0.25)
    assert winners[score.argmax()]
    assert winners.sum() == 15


def test_a_hot_softmax_draws_evenly():
    score = np.array([10.0] * 500 + [0.0] * 500)
    assert abs(kept(Choice("softmax", 1e6), score, 0.5)[:500].sum() - 250) < 40


def test_softmax_draws_in_proportion_to_the_exponential():
    # One of three a draw: probabilities e^0, e^1, e^2 by their sum, in 6,000 draws.
    score = np.array([0.0, 2.0, 4.0])
    wins = sum(kept(Choice("softmax", 2.0), score, 1 / 3, seed).astype(int) for seed in range(6000))
    expected = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    assert wins / 6000 == pytest.approx(expected, abs=0.025)
