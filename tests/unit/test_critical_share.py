"""The critical share: curves with a known crossing, coverage of its interval, n_e."""

import doctest
import math

import numpy as np
import pytest

from textmad.statistics import critical_share as critical_share_module
from textmad.statistics.critical_share import critical_share, effective_sample_size, next_share

WORSE = (-math.inf, 0.5)  # more than 0.5 above the control is harm
# Each leaves 0.5 at the share beside it. `loop` is a series that five generations have summed.
CURVES = {
    "loop": (lambda x: x + x**2 + x**3 + x**4 + x**5, 0.3339),
    "line": (lambda x: 5 * x, 0.1),
    "helps first": (lambda x: 6 * x**2 - 1.5 * x, 0.4397),  # 6 x^2 - 1.5 x = 0.5
    "kink": (lambda x: 8 * np.maximum(x - 0.4, 0), 0.4625),
    "steep at the end": (lambda x: 5 * x**6, 0.1 ** (1 / 6)),
    # Steepest at 0, where a spline through the shares run was too sure of its interval.
    "root": (lambda x: 2 * np.sqrt(x), 0.0625),  # 2 sqrt(1 / 16) = 0.5
    "flat root": (lambda x: 0.9 * np.sqrt(x), (5 / 9) ** 2),
    "saturating": (lambda x: 2 * (1 - np.exp(-5 * x)), -math.log(0.75) / 5),
    "soon flat": (lambda x: 0.55 * (1 - np.exp(-20 * x)), math.log(11) / 20),  # 1 - 10/11 = 1/11
    "step": (lambda x: 1 / (1 + np.exp(-60 * (x - 0.47))), 0.47),
}


def measured(rng, curve, shares, seeds, noise):
    """Differences (seeds, shares) of values with the noise of each run, the control's too."""
    control = rng.normal(0, noise, (seeds, 1))
    return curve(np.asarray(shares)) + rng.normal(0, noise, (seeds, len(shares))) - control


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(critical_share_module).failed == 0


# --- the curve and where it leaves ----------------------------------------------------------


WOBBLE = np.array([[-0.01], [0.0], [0.01]])  # over three seeds: a mean's error is 0.0058


def test_a_line_leaves_where_it_does_and_the_interval_ends_at_shares_run():
    result = critical_share([0.2, 0.6, 1.0], np.array([0.4, 1.2, 2.0]) + WOBBLE, WORSE)
    assert result.estimate == pytest.approx(0.25, abs=1e-3)  # 2 x = 0.5
    assert (result.low, result.high, result.harmless) == (0.2, 0.6, 0.2)
    assert result.n == 3


def test_the_order_of_shares_makes_no_difference():
    d = np.array([[0.1, 0.5, 1.2], [0.0, 0.7, 1.0]])
    ordered = critical_share([0.2, 0.5, 0.9], d, WORSE)
    mixed = critical_share([0.9, 0.2, 0.5], d[:, [2, 0, 1]], WORSE)
    assert ordered[:4] == mixed[:4]


def test_the_interval_ends_are_the_t_tests_of_the_shares_run():
    # With three seeds t is 4.303 at 2.5 % and 2.920 at 5 %. A mean 0.1 inside the tolerance has
    # t = 0.1 / 0.0346 = 2.89 with a spread of 0.06, 5.77 with 0.03, and 3.46 with 0.05.
    for spread, low, harmless in ((0.06, 0.0, 0.0), (0.03, 0.2, 0.2), (0.05, 0.0, 0.2)):
        d = np.column_stack([[0.4 - spread, 0.4, 0.4 + spread], [2.0, 2.01, 2.02]])
        result = critical_share([0.2, 0.6], d, WORSE)
        assert (result.low, result.harmless, result.high) == (low, harmless, 0.6)


def test_a_share_that_lies_inside_above_one_that_does_not_is_no_end():
    d = np.array([0.1, 0.5, 0.1, 0.9]) + WOBBLE
    result = critical_share([0.1, 0.2, 0.3, 0.4], d, WORSE)
    assert (result.low, result.harmless, result.high) == (0.1, 0.1, 0.4)


def test_a_curve_that_stays_inside_leaves_beyond_all_that_was_run():
    result = critical_share([0.3, 0.6], [[0.01, 0.0], [0.0, 0.02], [-0.01, 0.01]], WORSE)
    assert result.estimate == result.high == math.inf
    assert (result.low, result.harmless) == (0.6, 0.6)


def test_noise_that_hides_the_tolerance_has_no_upper_end_and_shows_nothing():
    result = critical_share([0.3, 0.6], [[2.0, -3.0], [-2.0, 4.0], [1.0, 3.0]], WORSE)
    assert result.high == math.inf
    assert result.harmless == 0


@pytest.mark.parametrize("bounds", [WORSE, (-0.5, 0.5)])
def test_where_nothing_has_moved_no_share_is_critical(bounds):
    result = critical_share([0.3, 0.6], np.zeros((3, 2)), bounds)
    assert result.estimate == result.high == math.inf
    assert result.low == result.harmless == 0.6
    assert not result.curve.mean.any()


def test_either_side_counts_where_both_are_harm():
    falling = [[-0.4, -1.2], [-0.4, -1.2]]
    assert critical_share([0.2, 0.6], falling, WORSE).estimate == math.inf
    assert critical_share([0.2, 0.6], falling, (-0.5, 0.5)).estimate == pytest.approx(
        0.25, abs=1e-3
    )


def test_the_first_leaving_counts_though_the_curve_comes_back():
    shares = np.linspace(0.1, 1, 10)
    result = critical_share(shares, [np.sin(math.pi * shares)] * 2, WORSE)
    assert result.estimate == pytest.approx(1 / 6, abs=0.01)  # sin(pi / 6) = 1/2


def test_one_seed_has_an_estimate_and_no_interval():
    result = critical_share([0.2, 0.6], [[0.4, 1.2]], WORSE)
    assert result.estimate == pytest.approx(0.25, abs=1e-3)
    assert np.isnan([result.low, result.high, result.harmless]).all()


@pytest.mark.parametrize(
    ("shares", "differences", "message"),
    [
        ([0.5], [[1.0], [2.0]], "expected two different ones or more"),
        ([0.5, 0.5], [[1.0, 2.0]], "expected two different ones or more"),
        ([0.0, 0.5], [[1.0, 2.0]], r"in \(0, 1\]"),
        ([0.5, 1.1], [[1.0, 2.0]], r"in \(0, 1\]"),
        ([0.5, 1.0], [[1.0, math.nan]], "expected finite numbers"),
        ([0.5, 1.0], [[1.0]], r"shape \(1, 1\) over 2 shares"),
        ([0.5, 1.0], np.zeros((0, 2)), "expected finite numbers"),
    ],
)
def test_what_is_no_measurement_is_an_error(shares, differences, message):
    with pytest.raises(ValueError, match=message):
        critical_share(shares, differences, WORSE)


def covered(curve, truth, shares, seeds, noise, repeats):
    """The share of intervals that hold the truth, and of claims of no harm that are wrong."""
    rng = np.random.default_rng(11)
    held = wrong = 0
    for _ in range(repeats):
        result = critical_share(shares, measured(rng, curve, shares, seeds, noise), WORSE)
        held += result.low - 1e-3 <= truth <= result.high + 1e-3
        wrong += result.harmless > truth + 1e-3
    return held / repeats, wrong / repeats


@pytest.mark.parametrize(
    ("name", "seeds"), [("loop", 3), ("kink", 5), ("root", 3), ("soon flat", 3)]
)
def test_the_interval_holds_the_critical_share_at_least_as_often_as_it_says(name, seeds):
    curve, truth = CURVES[name]
    held, wrong = covered(curve, truth, [0.2, 0.4, 0.6, 0.8, 1.0], seeds, 0.2, 200)
    assert held >= 0.92  # 95 % less two standard errors of 200
    assert wrong <= 0.08  # one side of 90 %: 5 %


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("shares", [[0.2, 0.9], [0.2, 0.4, 0.6, 0.8, 1.0]])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_the_interval_covers_on_every_curve(name, seeds, shares, noise):
    curve, truth = CURVES[name]
    held, wrong = covered(curve, truth, shares, seeds, noise, 1000)
    print(f"{name}, {seeds} seeds, noise {noise}: held {held:.3f}, wrongly harmless {wrong:.3f}")
    assert held >= 0.935
    assert wrong <= 0.065


# --- where the next run goes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "estimate", "expected"),
    [
        ([0.9, 0.1], 0.5, 0.5),
        ([0.1, 0.9], 0.12, 0.3),  # a quarter of 0.8 stays
        ([0.1, 0.9], 0.88, 0.7),
        ([0.1, 0.4, 0.9], 0.4, 0.325),  # at a share that was run: the gap below it
        ([0.1, 0.9], 0.05, 0.05),  # the control is a share of 0
        ([0.1, 0.9], 0.001, 0.025),
        ([0.019, 0.9], 0.001, None),
        ([0.1, 0.9], math.inf, None),
        ([0.1, 0.40, 0.415, 0.9], 0.41, None),
    ],
)
def test_the_next_share_is_the_estimate_kept_within_its_gap(shares, estimate, expected):
    assert next_share(shares, estimate) == expected


def sought(rng, curve, arms, noise=0.1, seeds=3):
    """A search as a study conducts it."""
    control, shares = rng.normal(0, noise, seeds), [0.1, 1.0]
    columns = [curve(share) + rng.normal(0, noise, seeds) - control for share in shares]
    while True:
        result = critical_share(shares, np.column_stack(columns), WORSE)
        share = next_share(shares, result.estimate)
        if share is None or len(shares) == arms:
            return result, len(shares)
        shares.append(share)
        columns.append(curve(share) + rng.normal(0, noise, seeds) - control)


def test_a_search_of_six_arms_is_as_near_as_ten_on_an_even_grid():
    rng = np.random.default_rng(5)
    errors = {"sought": [], "even": []}
    for curve, truth in (CURVES["steep at the end"], CURVES["kink"]):
        for _ in range(25):
            result, used = sought(rng, curve, arms=6)
            assert used <= 6
            errors["sought"].append(result.estimate - truth)
            even = np.linspace(0.1, 1.0, 10)
            result = critical_share(even, measured(rng, curve, even, 3, 0.1), WORSE)
            errors["even"].append(result.estimate - truth)
    away = {name: np.abs(each).mean() for name, each in errors.items()}
    assert away["sought"] < 1.2 * away["even"] < 0.03


# --- effective sample size ------------------------------------------------------------------


def test_an_error_that_was_measured_has_the_size_that_it_was_measured_at():
    errors = {100: 0.4, 200: 0.2, 800: 0.1}
    assert effective_sample_size(0.2, errors) == pytest.approx(200)
    # Half way from 0.2 to 0.1 in logarithms is half way from 200 to 800.
    assert effective_sample_size(math.sqrt(0.02), errors) == pytest.approx(400)


def test_an_error_outside_all_measured_ones_has_no_guessed_size():
    errors = {100: 0.4, 200: 0.2}
    assert effective_sample_size(0.1, errors) == math.inf
    assert effective_sample_size(0.5, errors) == 0.0


def test_errors_that_rise_by_chance_are_averaged_with_their_neighbours():
    # 0.2 and 0.2 * 1.21 become their geometric mean 0.22, which both sizes then have.
    errors = {100: 0.4, 200: 0.2, 400: 0.242, 800: 0.1}
    low = effective_sample_size(0.2201, errors)
    high = effective_sample_size(0.2199, errors)
    assert low == pytest.approx(200, rel=0.01)
    assert high == pytest.approx(400, rel=0.01)


@pytest.mark.parametrize(
    ("error", "errors"), [(0.1, {100: 0.2}), (0.0, {1: 0.2, 2: 0.1}), (0.1, {1: 0.2, 2: -0.1})]
)
def test_a_curve_of_one_size_and_errors_of_nothing_are_errors(error, errors):
    with pytest.raises(ValueError, match="expected errors above 0 of at least two sizes"):
        effective_sample_size(error, errors)


def gaussian_loop(rng, human, model, bias, generations=25, dimensions=15_000):
    """Mean squared error of mean and of spread in the limit; each dimension is a chain.

    Reads `human` fresh values of N(0, 1) and `model` of the last model's N(m, bias v). Sufficient
    statistics are drawn, not values.
    """
    mean, variance, total = np.zeros(dimensions), np.ones(dimensions), human + model
    for _ in range(generations if model else 1):
        own = rng.normal(0, 1 / math.sqrt(human), dimensions)
        square = rng.chisquare(human - 1, dimensions)
        if model:
            spread = bias * variance
            theirs = mean + rng.normal(0, 1, dimensions) * np.sqrt(spread / model)
            square += rng.chisquare(model - 1, dimensions) * spread
            square += human * model / total * (own - theirs) ** 2
            own = (human * own + model * theirs) / total
        mean, variance = own, square / (total - 1)
    return (mean**2).mean(), ((np.sqrt(variance) - 1) ** 2).mean()


def test_the_effective_size_of_a_gaussian_loop_is_that_of_its_formula():
    rng = np.random.default_rng(3)
    alone = {n: gaussian_loop(rng, n, 0, 1.0)[0] for n in (50, 100, 200, 400)}
    for model in (50, 100, 400):
        result = effective_sample_size(gaussian_loop(rng, 100, model, 1.0)[0], alone)
        expected = 100 * (100 + 2 * model) / (100 + model)
        # 15,000 chains: each mean square has a standard error of sqrt(2 / 15,000) = 1.2 %.
        assert result == pytest.approx(expected, rel=0.05)


def test_biased_model_text_helps_up_to_an_amount_and_harms_beyond_it():
    """Claim A6: below lambda = 1 there is an amount beyond which n_e falls below the human size."""
    rng = np.random.default_rng(4)
    alone = {n: sum(gaussian_loop(rng, n, 0, 1.0)) for n in (10, 25, 50, 100, 200, 400)}
    sizes = [
        effective_sample_size(sum(gaussian_loop(rng, 100, model, 0.9)), alone)
        for model in (20, 100, 800)
    ]
    assert sizes[0] > 105
    assert sizes[-1] < 95
