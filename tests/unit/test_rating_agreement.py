"""Agreement, raters' quality and strengths against published and hand-worked examples."""

import numpy as np
import pytest

from textmad.errors import RunError
from textmad.rating.agreement import (
    agreement,
    first_position_share,
    krippendorff_alpha,
    rater_qualities,
    strengths,
)
from textmad.rating.ballot import Ballot
from textmad.rating.records import Vote
from textmad.rating.reliability import left_out

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers on
# twelve units. The paper gives 0.743 for nominal and 0.815 for ordinal data.
PUBLISHED = ("123321412...", "123322412 5.3", ".333234225 1.", "123324412 51.")
TABLE = [row.replace(" ", "") for row in PUBLISHED]


def votes_of(table):
    """Votes from a row of digits for each rater; a dot is no vote."""
    return [
        vote(f"r{row}", item, int(value))
        for row, values in enumerate(table)
        for item, value in enumerate(values)
        if value != "."
    ]


def vote(rater, item, value, *, gold=None, showing=0, screen_position=0, seconds=1.0):
    documents = (f"g0-{item}",)
    return Vote("b", item, documents, gold, rater, showing, value, screen_position, seconds, 0.0)


@pytest.mark.parametrize(
    ("ballot", "published"),
    [(Ballot(design="best_of", group=6), 0.743), (Ballot(design="stars"), 0.815)],
)
def test_alpha_is_that_of_krippendorffs_own_example(ballot, published):
    assert all(len(row) == 12 for row in TABLE)
    assert krippendorff_alpha(ballot, votes_of(TABLE)) == pytest.approx(published, abs=5e-4)


def test_alpha_of_four_texts_by_hand():
    # Items (1,1), (0,0), (1,0), (1,1): one of four pairs disagrees, so the observed disagreement is
    # 1/4. Of 8 values 5 are 1 and 3 are 0: by chance 2 * 5 * 3 / (8 * 7) = 30/56 would.
    expected = 1 - (1 / 4) / (30 / 56)
    assert krippendorff_alpha(Ballot(), votes_of(["1011", "1001"])) == pytest.approx(expected)


def test_alpha_is_1_for_full_agreement_and_nothing_without_two_raters_or_two_values():
    assert krippendorff_alpha(Ballot(), votes_of(["1010", "1010"])) == pytest.approx(1.0)
    assert krippendorff_alpha(Ballot(), votes_of(["1010"])) is None
    assert krippendorff_alpha(Ballot(), votes_of(["11..", "..00"])) is None
    assert krippendorff_alpha(Ballot(), votes_of(["1111", "1111"])) is None
    assert krippendorff_alpha(Ballot(), []) is None


def test_gold_texts_and_repeats_do_not_change_alpha():
    votes = votes_of(["1011", "1001"])
    more = [
        *votes,
        vote("r0", 7, 1, gold=1),
        vote("r1", 7, 0, gold=1),
        vote("r0", 0, 0, showing=1),
    ]
    assert krippendorff_alpha(Ballot(), more) == krippendorff_alpha(Ballot(), votes)


def test_strengths_of_two_texts_are_the_log_of_their_odds():
    # Three wins to one: the maximum likelihood difference is log(3 / 1), by Bradley and Terry.
    choices = [(0, (1,))] * 300 + [(1, (0,))] * 100
    first, second = strengths(2, choices)
    assert first - second == pytest.approx(np.log(3), abs=0.01)
    assert first + second == pytest.approx(0)


def test_strengths_of_a_group_are_the_logs_of_how_often_each_was_chosen():
    # From the same three texts, chosen 300, 200 and 100 times (Luce): log of the counts.
    counts = (300, 200, 100)
    choices = [
        (text, tuple(other for other in range(3) if other != text))
        for text, count in enumerate(counts)
        for _ in range(count)
    ]
    found = strengths(3, choices)
    expected = np.log(counts) - np.log(counts).mean()
    assert found == pytest.approx(expected, abs=0.01)


def test_a_text_that_always_wins_has_a_finite_strength_and_one_without_votes_is_in_the_middle():
    found = strengths(3, [(0, (1,))] * 5)
    assert np.isfinite(found).all()
    assert found[0] > found[2] > found[1]


def test_too_many_texts_for_strengths_are_an_error_with_its_remedy():
    with pytest.raises(RunError, match="rank: strength: 4,001 texts, expected at most 4,000"):
        strengths(4_001, [])


def test_the_quality_of_a_rater_by_hand():
    ballot = Ballot(gold="gold.jsonl", min_gold_accuracy=0.6)
    votes = [
        vote("good", 0, 1, seconds=2.0),
        vote("good", 1, 0, seconds=4.0),
        vote("good", 0, 1, showing=1, seconds=3.0),
        vote("good", 8, 1, gold=1, seconds=9.0),
        vote("bad", 0, 1, seconds=1.0),
        vote("bad", 0, 0, showing=1, seconds=1.0),
        vote("bad", 8, 0, gold=1, seconds=1.0),
        vote("bad", 9, 0, gold=0, seconds=1.0),
    ]
    bad, good = rater_qualities(ballot, votes)
    assert (good.rater, good.num_votes, good.gold_accuracy, good.consistency) == (
        "good",
        2,
        1.0,
        1.0,
    )
    assert good.median_seconds == 3.5
    assert (bad.num_votes, bad.gold_accuracy, bad.consistency) == (1, 0.5, 0.0)
    assert bad.first_position_share is None  # one text a page
    assert left_out(ballot, votes) == {"bad": "gold"}


def test_who_always_takes_the_first_text_of_a_pair_has_a_share_of_1():
    ballot = Ballot(design="pairs")
    votes = [vote("r", item, item % 2, screen_position=0) for item in range(4)]
    votes += [vote("s", item, 0, screen_position=item % 2) for item in range(4)]
    assert [q.first_position_share for q in rater_qualities(ballot, votes)] == [1.0, 0.5]


def test_stars_next_to_the_gold_answer_are_right():
    ballot = Ballot(design="stars", gold="gold.jsonl")
    votes = [vote("r", item, 4, gold=gold) for item, gold in enumerate((5, 4, 3, 2))]
    (quality,) = rater_qualities(ballot, votes)
    assert quality.gold_accuracy == 0.75


# --- intervals over raters ------------------------------------------------------------------


def test_the_interval_of_alpha_is_the_jackknife_over_raters_by_hand():
    table = ["1011", "1001", "1101"]
    alphas = [krippendorff_alpha(Ballot(), votes_of(table[:i] + table[i + 1 :])) for i in range(3)]
    found = agreement(Ballot(), votes_of(table))
    # Student's t with 2 degrees of freedom has the 97.5 % quantile 4.3027.
    squares = sum((alpha - np.mean(alphas)) ** 2 for alpha in alphas)
    margin = 4.3027 * np.sqrt(2 / 3 * squares)
    assert found.value == krippendorff_alpha(Ballot(), votes_of(table))
    assert found.low == pytest.approx(max(-1.0, found.value - margin), abs=1e-4)
    assert found.high == pytest.approx(min(1.0, found.value + margin), abs=1e-4)


def test_alpha_has_no_interval_where_it_hangs_on_one_rater():
    found = agreement(Ballot(), votes_of(["1011", "1001"]))  # without either, nothing is shared
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize("num_raters", [4, 12])
def test_the_interval_of_alpha_covers_the_alpha_of_all_possible_raters(num_raters):
    # Raters say the truth with a probability of their own, uniform on [0.5, 1]. For two raters the
    # expected disagreement is 2 E[p](1 - E[p]) = 2 * 0.75 * 0.25, by chance it is 1/2.
    truth = 1 - (2 * 0.75 * 0.25) / 0.5
    rng, num_covered, num_tries = np.random.default_rng(0), 0, 60
    for _ in range(num_tries):
        answers = rng.integers(0, 2, 80)
        right = rng.random((num_raters, 80)) < rng.uniform(0.5, 1, num_raters)[:, None]
        table = ["".join(map(str, row)) for row in np.where(right, answers, 1 - answers)]
        found = agreement(Ballot(), votes_of(table))
        num_covered += found.low <= truth <= found.high
    # Nominal 95 %. If it were 95 %, fewer than 51 of 60 would have a probability of 0.1 %.
    assert num_covered >= 51


def test_position_bias_is_told_from_chance():
    ballot, rng = Ballot(design="pairs"), np.random.default_rng(2)
    for share, is_biased in ((0.5, False), (0.8, True)):
        votes = [
            vote(f"r{rater}", item, 0, screen_position=int(rng.random() > share))
            for rater in range(8)
            for item in range(100)
        ]
        found = first_position_share(ballot, votes)
        assert abs(found.value - share) < 0.07  # four standard errors of 800 votes
        assert (found.low > 0.5) == is_biased
    assert first_position_share(Ballot(), votes) is None


# --- Bradley and Terry, published -----------------------------------------------------------

# Wins (row beats column) in the American League East, 1987; Agresti, "Categorical Data Analysis"
# (2nd ed. 2002), section 10.6.1. The estimates are those of the R package BradleyTerry2
# (Turner and Firth, JSS 48, 2012, section 3.2), with Baltimore at 0.
TEAMS = {
    "Milwaukee": ((0, 7, 9, 7, 7, 9, 11), 1.5814),
    "Detroit": ((6, 0, 7, 5, 11, 9, 9), 1.4364),
    "Toronto": ((4, 6, 0, 7, 7, 8, 12), 1.2945),
    "New York": ((6, 8, 6, 0, 6, 7, 10), 1.2476),
    "Boston": ((6, 2, 6, 7, 0, 7, 12), 1.1077),
    "Cleveland": ((4, 4, 5, 6, 6, 0, 6), 0.6839),
    "Baltimore": ((2, 4, 1, 3, 1, 7, 0), 0.0),
}


def test_strengths_of_the_baseball_teams_are_those_that_were_published():
    choices = [
        (winner, (loser,))
        for winner, (wins, _) in enumerate(TEAMS.values())
        for loser, count in enumerate(wins)
        for _ in range(count)
    ]
    found = strengths(len(TEAMS), choices)
    published = [estimate for _, estimate in TEAMS.values()]
    assert found - found[-1] == pytest.approx(published, abs=0.01)  # the weak prior shrinks a bit
