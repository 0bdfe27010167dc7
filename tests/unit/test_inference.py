"""Hand-worked values, and how often the intervals and tests are right, by simulation."""

import doctest
import math

import numpy as np
import pytest

from textmad.statistics import inference

REPEATS = 2000  # the standard error of a share of 95 % is then half a point


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def coverage(intervals, truth):
    return np.mean([each.low <= truth <= each.high for each in intervals])


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(inference).failed == 0


# --- intervals ------------------------------------------------------------------------------


def test_the_t_interval_is_the_textbooks():
    # mean 2, s = 1, error 1 / sqrt(3); t_{2, 0.975} = 4.3027 (any table)
    found = inference.mean_interval([1, 2, 3])
    assert found.estimate == 2
    assert found.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert found.low == pytest.approx(2 - found.half_width)


@pytest.mark.parametrize("make", [inference.mean_interval, inference.bootstrap_interval])
def test_one_seed_has_a_value_and_no_interval(make):
    found = make([3.5])
    assert (found.estimate, found.n) == (3.5, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("make", [inference.mean_interval, inference.bootstrap_interval])
def test_seeds_that_agree_have_an_interval_without_width(make):
    assert make([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0, 3)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0, 2.0]], [math.inf]])
def test_what_is_no_row_of_numbers_is_an_error(values):
    with pytest.raises(ValueError, match="expected a row of finite numbers, one a seed"):
        inference.mean_interval(values)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_t_interval_covers_as_often_as_it_says(rng, seeds):
    rows = rng.normal(7.0, 2.0, (REPEATS, seeds))
    assert 0.93 <= coverage(map(inference.mean_interval, rows), 7.0) <= 0.97


def test_the_interval_of_a_paired_difference_covers_as_often_as_it_says(rng):
    seeds = rng.normal(0.0, 10.0, (REPEATS, 5))  # what both arms of a seed share
    arm, control = (seeds + rng.normal(mean, 1.0, seeds.shape) for mean in (30.0, 10.0))
    found = [inference.paired_difference(a, c).interval for a, c in zip(arm, control, strict=True)]
    assert 0.93 <= coverage(found, 20.0) <= 0.97
    # sqrt(2) * 2.776 / sqrt(5) = 1.76, of an error of 1 in each arm: pairing took out the 10
    assert np.mean([each.half_width for each in found]) < 2


def test_the_bootstrap_covers_too_seldom_with_three_seeds_and_nearly_enough_with_twenty(rng):
    def covered(seeds):
        rows = rng.normal(0.0, 1.0, (150, seeds))
        return coverage((inference.bootstrap_interval(row, resamples=499) for row in rows), 0.0)

    # 0.73 and 0.92 of a thousand; the standard errors of 150 are 0.036 and 0.022
    assert covered(3) < 0.84
    assert 0.85 <= covered(20) <= 0.99


def test_the_bootstrap_of_three_seeds_stays_within_their_range():
    found = inference.bootstrap_interval([1.0, 4.0, 2.0])
    assert 1.0 <= found.low < 7 / 3 < found.high <= 4.0
    assert found == inference.bootstrap_interval([1.0, 4.0, 2.0])


# --- differences ----------------------------------------------------------------------------


def test_a_difference_is_that_of_the_same_seed():
    # differences 1, 2, 3: t = 2 sqrt(3) with 2 degrees; p = 1 - t / sqrt(t^2 + 2) = 1 - sqrt(6/7)
    found = inference.paired_difference([11, 22, 33], [10, 20, 30])
    assert found.interval == inference.mean_interval([1, 2, 3])
    assert found.p == pytest.approx(1 - math.sqrt(6 / 7))


def test_arms_of_different_length_are_errors():
    with pytest.raises(ValueError, match="3 and 2 values: expected one of each for every seed"):
        inference.paired_difference([1, 2, 3], [1, 2])


def test_one_pair_has_a_difference_and_no_p():
    found = inference.paired_difference([3.0], [1.0])
    assert found.interval.estimate == 2
    assert math.isnan(found.p)


def test_without_spread_only_the_side_that_the_differences_are_on_is_evidence():
    assert inference.paired_difference([1.0, 2.0], [1.0, 2.0]).p == 1.0
    # As unlikely as that n coins all fall on the same side: of the sign-flip test the least p.
    assert inference.paired_difference([2.0, 3.0], [1.0, 2.0]).p == 0.5
    assert (
        inference.paired_difference([2.0] * 5, [1.0] * 5).p == inference.sign_flips([1.0] * 5).least
    )


def test_differences_of_a_coarse_metric_are_shown_no_more_often_than_promised(rng):
    # Shares of 74 documents at 2 %: a fifth of all pairs of seeds tie.
    counts = rng.binomial(74, 0.02, (2, REPEATS, 2)) / 74
    found = [inference.paired_difference(*rows).p < 0.05 for rows in zip(*counts, strict=True)]
    assert np.mean(found) <= 0.05


def test_arms_that_are_the_same_differ_in_one_of_twenty_studies(rng):
    arm, control = rng.normal(0.0, 1.0, (2, REPEATS, 5))
    p = [inference.paired_difference(a, c).p for a, c in zip(arm, control, strict=True)]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07  # 5 %, +- 4 standard errors


# --- sign flips -----------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_least_p_of_sign_flips_halves_with_each_seed(seeds, least):
    # Of 2^n patterns two are as far from 0 as all plus: all plus, and all minus.
    found = inference.sign_flips(np.arange(1.0, seeds + 1))
    assert found == (pytest.approx(least), least, True)


def test_sign_flips_count_the_patterns_that_are_as_far_from_nothing():
    # 3 + 2 - 1 = 4. Of eight sums 6, 4, 2, 0 and their negatives, four are at least 4 away.
    assert inference.sign_flips([3.0, 2.0, -1.0]).p == 0.5


def test_sign_flips_of_many_seeds_are_drawn_and_the_same_twice(rng):
    differences = rng.normal(1.0, 1.0, 20)
    found = inference.sign_flips(differences, resamples=999)
    assert found == inference.sign_flips(differences, resamples=999)
    assert not found.exact
    assert found.least == 0.002  # both tails of 1 / (999 + 1)
    assert found.least <= found.p < 0.05


@pytest.mark.parametrize("differences", [[2.0], [0.0, 0.0, 0.0]])
def test_one_seed_or_no_difference_is_no_evidence(differences):
    assert inference.sign_flips(differences).p == 1.0


# --- many questions -------------------------------------------------------------------------


def test_holm_multiplies_the_least_by_all_the_next_by_one_less_and_never_falls():
    # sorted .01 .02 .04: times 3, 2, 1 = .03 .04 .04
    assert inference.adjust([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert inference.adjust([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_benjamini_and_hochberg_divide_by_the_rank():
    # .01 * 3/1, .02 * 3/2, .04 * 3/3
    found = inference.adjust([0.04, 0.01, 0.02], "benjamini-hochberg")
    assert found == pytest.approx([0.04, 0.03, 0.03])


@pytest.mark.parametrize("method", ["holm", "benjamini-hochberg"])
def test_what_has_no_p_is_no_question(method):
    found = inference.adjust([math.nan, 0.04, math.nan], method)
    assert found[1] == 0.04
    assert np.isnan(found[[0, 2]]).all()
    assert np.isnan(inference.adjust([math.nan], method)).all()


# --- generations ----------------------------------------------------------------------------


def test_a_slope_is_fitted_in_each_seed_and_its_interval_is_over_seeds():
    found = inference.slope([0, 2, 4], [[5, 7, 9], [1, 5, 9], [0, 6, 12]])  # slopes 1, 2, 3
    assert found == pytest.approx(inference.mean_interval([1, 2, 3]))


def test_noise_around_a_line_does_not_hide_that_seeds_differ(rng):
    generations, reached = np.arange(6.0), []
    for _ in range(REPEATS):
        slopes = rng.normal(1.0, 0.5, (5, 1))
        reached.append(
            inference.slope(generations, slopes * generations + rng.normal(0, 1, (5, 6)))
        )
    assert 0.93 <= coverage(reached, 1.0) <= 0.97


@pytest.mark.parametrize(
    ("generations", "values"), [([0], [[1]]), ([1, 1], [[1, 2]]), ([0, 1], [[1, 2, 3]])]
)
def test_a_slope_needs_two_generations_and_a_value_in_each(generations, values):
    with pytest.raises(ValueError, match="and at least two generations"):
        inference.slope(generations, values)


def collapse(*rows, band=(-1.0, 1.0)):
    return inference.time_to_collapse(range(len(rows[0])), rows, band)


def test_a_seed_collapses_where_it_leaves_the_band_for_good():
    assert collapse([0, 2, 3, 4]).times == (1,)
    assert collapse([0, 2, 0, 4]).times == (3,)  # it came back once
    assert collapse([0, 2, 3, 1]).times == (None,)  # at the bound is inside
    assert collapse([2, 2, 2, 2]).times == (0,)


def test_to_leave_on_one_side_and_then_on_the_other_counts_from_the_second():
    assert collapse([0, 2, -2, -3]).times == (2,)


def test_a_side_that_is_no_harm_has_an_infinite_bound():
    assert collapse([0, -5, -5], band=(-math.inf, 1.0)).times == (None,)
    assert collapse([0, -5, math.inf], band=(-math.inf, 1.0)).times == (2,)


def test_a_generation_without_a_number_says_nothing():
    nan = math.nan
    assert collapse([0, 2, nan, 2]).times == (1,)
    assert collapse([0, 2, 2, nan]).times == (1,)
    assert collapse([0, nan, 0, nan], [nan] * 4).times == (None, None)


def test_the_median_time_is_kaplan_and_meiers():
    # Survival after 1: 2/3; after 2: 1/3, the first that is at most a half.
    assert collapse([0, 2, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0]).median == 2
    assert collapse([0, 2, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0]).median == math.inf
    assert collapse([0, 0, 0, 0]) == ((None,), 3, math.inf)


# --- no harm --------------------------------------------------------------------------------


def test_equivalence_is_two_one_sided_tests():
    # mean 2, error 1 / sqrt(3), bounds +-5: the nearer bound is 3 away, t = 3 sqrt(3) = 5.196;
    # one tail of t with 2 degrees: (1 - t / sqrt(t^2 + 2)) / 2 = (1 - sqrt(27 / 29)) / 2
    found = inference.equivalence([1, 2, 3], (-5.0, 5.0))
    assert found.p == pytest.approx((1 - math.sqrt(27 / 29)) / 2)
    assert found.interval == inference.mean_interval([1, 2, 3], 0.90)


@pytest.mark.parametrize("bound", [3.5, 3.6, 3.7, 3.8, 4.0])
def test_equivalence_is_shown_just_where_the_90_percent_interval_is_inside(bound):
    found = inference.equivalence([1, 2, 3], (-bound, bound))  # 2 + 2.920 / sqrt(3) = 3.686
    assert (found.p < 0.05) == (bound > 2 + 2.920 / math.sqrt(3))


def test_a_harm_as_large_as_the_bound_is_seldom_called_none(rng):
    rows = rng.normal(1.0, 0.3, (REPEATS, 5))
    shown = np.mean([inference.equivalence(row, (-1.0, 1.0)).p < 0.05 for row in rows])
    assert 0.03 <= shown <= 0.07  # 5 %, +- 4 standard errors


def test_no_harm_is_shown_where_there_is_none_and_the_spread_is_small(rng):
    rows = rng.normal(0.0, 0.3, (200, 5))
    assert np.mean([inference.equivalence(row, (-1.0, 1.0)).p < 0.05 for row in rows]) > 0.95


def test_one_seed_shows_no_equivalence():
    assert math.isnan(inference.equivalence([0.0], (-1.0, 1.0)).p)


def test_seeds_that_agree_on_no_difference_are_equivalent():
    assert inference.equivalence([0.0, 0.0], (-1.0, 1.0)).p == 0.0
    assert inference.equivalence([2.0, 2.0], (-1.0, 1.0)).p == 0.75
    assert inference.equivalence([0.5, 0.5], (-1.0, 1.0)).p == 0.25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: inference.equivalence([1.0, 2.0], (1.0, -1.0)),
            "bounds: 1 to -1: expected the lower",
        ),
        (lambda: inference.mean_interval([1.0, 2.0], 95), "confidence: 95: expected a share"),
        (lambda: inference.adjust([0.1], "bonferroni"), "method: bonferroni: expected holm or"),
        (lambda: inference.time_to_collapse([0, 1], [[0, 1, 2]], (-1, 1)), "over 2 generations"),
    ],
)
def test_settings_that_cannot_be_meant_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- beyond the pool, the held-out documents and one signal -----------------------------------


@pytest.mark.parametrize(("share", "seeds"), [(0.02, 3), (0.4, 3), (0.4, 5), (0.8, 3)])
def test_the_wider_interval_covers_for_new_human_text(rng, share, seeds):
    # A pool of 100 documents is drawn anew in each repeat; a seed's value is the mean of its part.
    held = {"over seeds": 0, "wider": 0}
    for _ in range(800):
        pool = rng.normal(0, 1, 100)
        values = [rng.choice(pool, round(100 * share), replace=False).mean() for _ in range(seeds)]
        interval = inference.mean_interval(values)
        factor = inference.pool_factor(seeds, share)
        held["over seeds"] += abs(interval.estimate) <= interval.half_width
        held["wider"] += abs(interval.estimate) <= interval.half_width * factor
    assert 0.92 <= held["wider"] / 800 <= 0.975  # a standard error of 0.8 %
    assert (held["over seeds"] / 800 < 0.9) == (share > 0.1)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("of_seed", "of_document"), [(0.05, 0.0), (0.02, 0.5), (0.0, 1.0)])
def test_the_crossed_interval_covers_for_new_seeds_and_new_documents(
    rng, seeds, of_seed, of_document
):
    held = 0
    for _ in range(800):
        weights = rng.integers(5, 80, 60)
        d = (
            rng.normal(0, of_seed, (seeds, 1))
            + rng.normal(0, of_document, 60)
            + rng.normal(0, 0.3, (seeds, 60))
        )
        interval = inference.crossed_interval(d, weights)
        held += interval.low <= 0 <= interval.high
    # It is conservative where neither seeds nor documents differ by much.
    assert held / 800 >= 0.93


@pytest.mark.parametrize(
    ("differences", "weights", "message"),
    [
        ([[1.0, 2.0]], None, "at least two of each"),
        ([[1.0, math.nan], [1.0, 2.0]], None, "expected finite numbers"),
        ([[1.0, 2.0], [1.0, 2.0]], [1.0], "1 weights: expected one above 0 for each of 2"),
        ([[1.0, 2.0], [1.0, 2.0]], [1.0, 0.0], "expected one above 0"),
    ],
)
def test_what_is_not_crossed_is_an_error(differences, weights, message):
    with pytest.raises(ValueError, match=message):
        inference.crossed_interval(differences, weights)


def test_outside_and_inside_are_opposite_claims():
    d = [0.9, 1.0, 1.1]  # mean 1, error 0.0577: t = 17.3 to 0 and to 2
    assert inference.exceedance(d, (-math.inf, 0.0)) == pytest.approx(0.00166, abs=2e-5)
    assert inference.exceedance(d, (2.0, math.inf)) == pytest.approx(0.00166, abs=2e-5)
    assert inference.exceedance(d, (0.0, 2.0)) > 0.99
    assert inference.equivalence(d, (0.0, 2.0)).p < 0.01


def test_signals_of_equal_effect_and_noise_have_no_lead(rng):
    generations, false = list(range(1, 6)), 0
    for _ in range(300):
        harm = 0.5 * np.arange(1, 6) + rng.normal(0, 0.4, (5, 5, 5))  # signals, seeds, generations
        first, *others = (
            inference.time_to_collapse(generations, each, (-math.inf, 1.0)).times for each in harm
        )
        confidence = 1 - 0.05 / len(others)
        false += any(inference.lead(each, first, 5, confidence).low > 0 for each in others)
    assert false / 300 <= 0.06


def test_a_lead_counts_seeds_that_never_leave_as_leaving_after_the_last_generation():
    # 5 - 1, 6 - 2, 6 - 1 with None as generation 6
    result = inference.lead([1, 2, 1], [5, None, None], last=5)
    assert result.estimate == pytest.approx((4 + 4 + 5) / 3)
    # all agree: the rounding's sqrt(1/6 / 3) = 0.2357, times 4.3027
    same = inference.lead([1, 1, 1], [2, 2, 2], last=5)
    assert (same.low, same.high) == pytest.approx((1 - 1.0142, 1 + 1.0142), abs=1e-3)
    assert math.isnan(inference.lead([1], [2], last=5).low)


def test_differences_that_are_equal_but_for_rounding_are_no_endless_evidence():
    found = inference.paired_difference([1 / 12, 1 / 6], [1 / 2, 7 / 12])  # -5/12 in both
    assert found.p == 0.5  # that of two signs, 2 / 2^2
