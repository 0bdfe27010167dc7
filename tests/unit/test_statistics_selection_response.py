"""The breeder's equation: by hand, its band over simulated runs, and when a tolerance is passed."""

import math

import numpy as np
import pytest

from textmad.statistics.selection_response import (
    Band,
    bands,
    extrapolate,
    is_selected,
    passing,
    response,
)

EXACT = 1e-6  # an error without effect


def course(drawn, kept, num, error=EXACT, **settings):
    return extrapolate(drawn, kept, error, num, np.random.default_rng(0), **settings)


def test_selection_response_and_heritability_by_hand():
    found = response([20.0, 16.0, 13.0], [12.0, 12.0, 12.0])
    assert found.differentials == (-8, -4, -1)
    assert found.responses == (-4, -3)
    # (-4 * -8 + -3 * -4) / (64 + 16)
    assert found.heritability == pytest.approx(44 / 80)


def test_without_selection_there_is_no_heritability():
    assert math.isnan(response([1.0, 2.0], [1.0, 2.0]).heritability)


def test_the_equation_is_applied_again_while_selection_fades():
    # h2 is 4 / 8, S halves in a generation: steps of -2, -1, -0.5 in the median.
    middle = [band.middle for band in bands(course([20.0, 16.0], [12.0, 12.0], 3))]
    assert middle == pytest.approx([14, 13, 12.5], abs=0.15)


def test_selection_that_grows_is_predicted_to_stay():
    # h2 is 0.5, S went from 2 to 4: steps of 2.
    middle = [band.middle for band in bands(course([10.0, 11.0], [12.0, 15.0], 3))]
    assert middle == pytest.approx([13, 15, 17], abs=0.15)


def test_selection_that_turned_round_is_predicted_to_end():
    # S was -8 and is +1: one step of 0.5, then nothing.
    middle = [band.middle for band in bands(course([20.0, 16.0], [12.0, 17.0], 3))]
    assert middle == pytest.approx([16.5] * 3, abs=0.05)


def test_a_noisy_trait_has_about_the_heritability_of_the_prior():
    # An error of 100 on differences of 1: nothing is known, so h2 is 0.5 and the median stands.
    paths = course([0.0, 0.0], [1.0, 1.0], 1, error=100.0)
    assert bands(paths)[0].high > 100
    assert bands(paths)[0].low < -100


def test_no_course_leaves_the_bounds():
    paths = course([0.9, 0.95], [1.0, 1.0], 20, error=0.1, bounds=(0.0, 1.0))
    assert paths.min() >= 0
    assert paths.max() <= 1


def test_the_band_holds_most_of_simulated_runs():
    rng, num, held = np.random.default_rng(1), 300, []
    for _ in range(num):
        h2, fade, error = rng.uniform(0.2, 1), rng.uniform(0.3, 0.9), 0.2
        value, gap, drawn, kept = 20.0, -8.0, [], []
        for _ in range(6):
            drawn.append(value + rng.normal(0, error))
            kept.append(value + gap + rng.normal(0, error))
            value += h2 * gap * (1 + rng.normal(0, 0.2))
            gap *= fade
        low, high = bands(extrapolate(drawn[:2], kept[:2], error, 4, rng))[-1][1:]
        held.append(low <= drawn[-1] <= high)
    # 240 of 300 are promised; a standard deviation is 7.
    assert 0.7 <= np.mean(held) <= 0.98


def test_selection_counts_only_beyond_two_standard_errors():
    # The mean of two differences of two values each: its standard error is that of one value.
    assert is_selected([10, 10], [12.1, 12.1], error=1.0)
    assert not is_selected([10, 10], [11.9, 11.9], error=1.0)
    assert is_selected([10, 10], [7.9, 7.9], error=1.0)
    assert not is_selected([10, 10], [13, 7], error=1.0)


def test_a_tolerance_is_passed_at_the_first_generation_beyond_it_whichever_side():
    paths = np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    assert passing(paths, 0.0, 1.5, first=2) == Band(3, 3, 3)
    assert passing(paths, 0.0, 9.0, first=2) == Band(math.inf, math.inf, math.inf)


def test_a_quarter_that_never_passes_widens_the_band_to_never():
    paths = np.array([[0.0, 2.0]] * 75 + [[0.0, 0.0]] * 25)
    assert passing(paths, 0.0, 1.0, first=2) == Band(3, 3, math.inf)
