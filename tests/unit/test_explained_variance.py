"""Two predictors of one value: shares as least squares has them, intervals as simulated runs do."""

import doctest
import math

import numpy as np
import pytest

from textmad.kinship import HUMAN, Descent, Pedigree
from textmad.statistics import explained_variance as module
from textmad.statistics.explained_variance import explained_variance

GENERATIONS, MEMBERS = 5, 4
# The parents of member m, all with equal shares.
MATINGS = {
    "selfing": lambda m: [m],
    "siblings": lambda m: [m // 2 * 2, m // 2 * 2 + 1],
    "ring": lambda m: [m, (m + 1) % MEMBERS],
}


def design(parents_of):
    """Generation and inbreeding coefficient of each member of a population."""
    rows = [Descent(0, m, -1, HUMAN, 1.0) for m in range(MEMBERS)]
    for g in range(1, GENERATIONS + 1):
        for m in range(MEMBERS):
            parents = parents_of(m)
            rows += [Descent(g, m, g - 1, p, 1 / len(parents)) for p in parents]
    pedigree = Pedigree.of(rows)
    generations = np.array([g for g, _ in pedigree.members], dtype=float)
    return generations, pedigree.inbreeding(pedigree.members)


DESIGNS = {name: design(parents_of) for name, parents_of in MATINGS.items()}


def study(rng, seeds, slope_spread=0.1, noise=0.15):
    """Rows of a study whose values fall with F, in each run by another slope."""
    columns = [[] for _ in range(5)]
    for arm, (generations, inbreeding) in DESIGNS.items():
        for seed in range(seeds):
            slope = -1 + slope_spread * rng.standard_normal()
            values = slope * inbreeding + noise * rng.standard_normal(len(inbreeding))
            num = len(values)
            rows = inbreeding, generations, values, [seed] * num, [arm] * num
            for column, added in zip(columns, rows, strict=True):
                column.extend(added)
    return columns


def r2(predictors, y):
    """The share of variance that least squares explains, with an intercept."""
    x = np.column_stack([np.ones(len(y)), *predictors])
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - rest @ rest / ((y - y.mean()) @ (y - y.mean()))


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(module).failed == 0


def test_the_shares_are_those_of_least_squares():
    rows = study(np.random.default_rng(0), 3, slope_spread=0.5)
    f, g, y = (np.array(column) for column in rows[:3])
    found = explained_variance(*rows)
    both = r2([f, g], y)
    assert found.one.estimate == pytest.approx(r2([f], y))
    assert found.other.estimate == pytest.approx(r2([g], y))
    any_curve = [g == level for level in np.unique(g)[1:]]
    assert found.any_other.estimate == pytest.approx(r2(any_curve, y))
    assert found.one_given_other.estimate == pytest.approx((both - r2([g], y)) / (1 - r2([g], y)))
    assert found.other_given_one.estimate == pytest.approx((both - r2([f], y)) / (1 - r2([f], y)))
    assert found.difference.estimate == pytest.approx(r2([f], y) - r2([g], y))
    assert found.num_rows == len(y)
    assert found.one.n == 9


def test_runs_with_equal_numbers_in_different_arms_are_different_runs():
    rows = study(np.random.default_rng(0), 2)
    by_name = [f"{arm} {seed}" for arm, seed in zip(rows[4], rows[3], strict=True)]
    assert explained_variance(*rows) == explained_variance(*rows[:3], by_name, rows[4])


def test_of_values_that_fall_with_f_alone_the_generation_explains_nothing_beyond_f():
    found = explained_variance(*study(np.random.default_rng(1), 5))
    assert found.difference.low > 0
    assert found.one_given_other.low > 0
    assert found.other_given_one.low == 0  # of a correlation whose interval holds 0


def test_the_interval_of_a_share_stays_between_0_and_1_and_holds_the_estimate():
    for draw in range(20):
        found = explained_variance(*study(np.random.default_rng(draw), 2))
        for share in found[:5]:
            assert 0 <= share.low <= share.estimate <= share.high <= 1


def test_a_wider_confidence_gives_a_wider_interval():
    rows = study(np.random.default_rng(0), 3)
    narrow, wide = (explained_variance(*rows, confidence=c).difference for c in (0.8, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_with_one_run_in_an_arm_there_is_no_interval():
    found = explained_variance(*study(np.random.default_rng(0), 1))
    assert found.one.estimate > 0.5
    assert all(math.isnan(each.low) and math.isnan(each.high) for each in found[:6])


def test_a_predictor_that_follows_from_the_other_explains_nothing_by_itself():
    generations, inbreeding = design(MATINGS["selfing"])
    values = 1 - inbreeding + 0.1 * np.random.default_rng(0).standard_normal(len(inbreeding))
    found = explained_variance(2 * generations + 1, generations, values, [0] * len(values))
    assert found.one.estimate == pytest.approx(found.other.estimate)
    assert math.isnan(found.one_given_other.estimate)
    assert math.isnan(found.other_given_one.estimate)


def test_what_does_not_vary_explains_nothing_and_cannot_be_explained():
    generations = [0.0, 1.0, 2.0, 3.0]
    found = explained_variance([0.0] * 4, generations, [4.0, 3.0, 2.0, 1.0], [0, 0, 1, 1])
    assert found.one.estimate == 0
    assert found.other.estimate == pytest.approx(1)
    assert math.isnan(explained_variance(generations, generations, [7.0] * 4, [0] * 4).one.estimate)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0.0], [0, 1], [1.0, 2.0], ["a", "a"]), "expected equally many rows of each"),
        (([], [], [], []), "expected equally many rows of each"),
        (([0.0, math.nan], [0, 1], [1.0, 2.0], ["a", "a"]), "expected finite numbers"),
    ],
)
def test_rows_that_are_no_table_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        explained_variance(*columns)


@pytest.mark.slow  # 20 seconds
@pytest.mark.parametrize("slope_spread", [0.1, 0.3])
def test_how_often_the_intervals_hold_the_true_share(slope_spread):
    """The true shares are those of 500 seeds an arm."""
    many = explained_variance(*study(np.random.default_rng(0), 500, slope_spread))
    truth = np.array([each.estimate for each in many[:6]])
    for seeds in (3, 5, 10):
        rng, held = np.random.default_rng(1), np.zeros(6)
        for _ in range(1000):
            found = explained_variance(*study(rng, seeds, slope_spread))
            held += [
                each.low <= true <= each.high for each, true in zip(found[:6], truth, strict=True)
            ]
        print(slope_spread, seeds, dict(zip(found._fields, held / 1000, strict=False)))
        assert (held[[0, 1, 5]] / 1000 > 0.75).all()
