"""The critical share of model text: how much may be mixed in before a loss leaves a tolerance.

Takes and returns plain numbers. A *share* is the part of a generation's training tokens that a
model wrote. It grows in two ways, which answer two questions: model text *replaces* human text
(the total stays), or it is *added* to human text (the human amount stays).

The estimate is read off a curve: the mean difference to the human-only control, fitted over the
shares by a smoothing spline. Its prior is an integrated Wiener process (Wahba 1978), its smoothness
is the one that makes the differences most likely (restricted maximum likelihood).

The interval does not rest on that curve, because a spline is too sure of a curve that is steep
between two shares (docs/guarantees.md). Its ends are shares that were run. The lower end is
the largest share up to which the difference lies inside the tolerance at every share run; the upper
end is the smallest share down to which it lies outside at every share run. Each side is a
one-sided t test at half of 1 - confidence in a fixed sequence of shares, which needs no adjustment
(Maurer, Hothorn and Lehmacher 1995). The lower end assumes that a curve does not leave the
tolerance and come back between two shares; the upper end assumes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from textmad.statistics.inference import equivalence, exceedance

Values: TypeAlias = NDArray[np.float64]

_STEPS = 1000  # of the curve, from 0 to the largest share
_SMALLEST_GAP = 0.02  # shares nearer to each other than this need no run between them
_ROUNDING = 1e-9  # of the largest difference: the noise that seeds without any spread still have


class Curve(NamedTuple):
    """The fitted mean difference, each (points,)."""

    shares: Values
    mean: Values


class CriticalShare(NamedTuple):
    """The least share at which the difference leaves the tolerance; infinite above all run.

    `low` and `high` are shares that were run, 0 or infinite; `harmless` is the largest share run
    up to which every share lies inside the tolerance (equivalence tests at 5 %), 0 where none
    does. All three are NaN for one seed.
    """

    estimate: float
    low: float
    high: float
    harmless: float
    curve: Curve
    n: int  # seeds


def critical_share(
    shares: Sequence[float],
    differences: ArrayLike,
    bounds: tuple[float, float],
    confidence: float = 0.95,
) -> CriticalShare:
    """Estimate the share of model text at which the mean difference leaves the bounds.

    >>> result = critical_share([0.2, 0.6, 1.0], [[1, 3, 5.2], [1.1, 2.9, 4.9]], (-math.inf, 2.0))
    >>> round(result.estimate, 1), result.low, result.high
    (0.4, 0.2, 0.6)

    Args:
        shares: (shares,), at least two different ones above 0.
        differences: (seeds, shares), to the control of the same seed, whose share is 0.
        bounds: lower and upper tolerance in the metric's unit; infinite on a side without harm.
        confidence: of the interval.

    Raises:
        ValueError: values that are not finite numbers, or fewer than two shares.
    """
    x, d = _sorted_with_control(shares, differences)
    grid = np.linspace(0.0, x[-1], _STEPS + 1)
    mean = _smoothed_mean(x, d, grid)
    outside = (mean >= bounds[1]) | (mean <= bounds[0])
    estimate = float(grid[outside.argmax()]) if outside.any() else math.inf
    low = high = harmless = math.nan
    if len(d) > 1:
        level = (1 - confidence) / 2
        p_inside = [equivalence(column, bounds).p for column in d.T[1:]]
        p_outside = [exceedance(column, bounds) for column in d.T[1:]]
        low = _last_in_a_row(x[1:], p_inside, level, otherwise=0.0)
        high = _last_in_a_row(x[:0:-1], p_outside[::-1], level, otherwise=math.inf)
        harmless = _last_in_a_row(x[1:], p_inside, 0.05, otherwise=0.0)
    return CriticalShare(estimate, low, high, harmless, Curve(grid, mean), len(d))


def _last_in_a_row(shares: Values, p: Sequence[float], level: float, otherwise: float) -> float:
    """The last of the leading shares whose p lies below the level."""
    supported = np.logical_and.accumulate(np.asarray(p) < level)
    return float(shares[supported.sum() - 1]) if supported.any() else otherwise


def next_share(shares: Sequence[float], estimate: float) -> float | None:
    """Return the share at which the next run tells most; None where no run is needed.

    It is the estimate, kept within its gap between two shares run. A quarter of the gap stays on
    either side, so each run narrows the gap by at least a quarter, even where the curve misleads.

    >>> next_share([0.1, 0.9], 0.42), next_share([0.1, 0.9], 0.15), next_share([0.1, 0.9], 0.04)
    (0.42, 0.3, 0.04)

    Args:
        shares: those that were run beside the control, whose share is 0.
        estimate: the critical share that they give.

    Returns:
        A share to three decimals. None where the estimate is above all shares run, or where the
        shares around it are less than 0.02 apart.
    """
    run = [0.0, *sorted(shares)]
    position = int(np.searchsorted(run, estimate))
    if not 0 < position < len(run):
        return None
    below, above = run[position - 1], run[position]
    if above - below < _SMALLEST_GAP:
        return None
    quarter = (above - below) / 4
    return round(min(max(estimate, below + quarter), above - quarter), 3)


def effective_sample_size(error: float, human_errors: Mapping[int, float]) -> float:
    """Return the number of human tokens (or documents) that alone would give this error.

    After Alemohammad et al. 2307.01850, section 5.2: with human text of size n alone the expected
    error is E(n), which falls in n; the effective size of a loop of error W is n_e = E^-1(W).
    n_e above the human size that the loop reads says that model text helps, below that it harms.
    Between two measured sizes E is a power of n (a line in logarithms), which for the mean of a
    Gaussian is exact: with n values in d dimensions E(n) = d / n. There the loop that reads n_r
    fresh values and n_s of the previous model's, drawn with its variance times lambda, has the
    limit W = d (n_r + lambda n_s) / ((n_r + n_s)^2 - n_s^2), and so

        n_e = n_r (n_r + 2 n_s) / (n_r + lambda n_s),

    which is 2 n_r for lambda = 1 and n_s to infinity. Errors that rise with n, as chance has it,
    are averaged with their neighbours (isotonic regression).

    >>> round(effective_sample_size(0.01, {50: 0.02, 400: 0.0025}))
    100

    Args:
        error: of the loop in its last generation, above 0: a distance, or a loss less its floor.
        human_errors: the same error of models that learned from so much human text alone.

    Returns:
        Infinite or 0 where the error lies below or above all measured ones: nothing is guessed.

    Raises:
        ValueError: fewer than two sizes, or an error that is not above 0.
    """
    sizes = np.array(sorted(human_errors), dtype=float)
    errors = np.array([human_errors[size] for size in sorted(human_errors)], dtype=float)
    if (
        len(sizes) < 2
        or not (np.isfinite([error, *errors]) & (np.array([error, *errors]) > 0)).all()
    ):
        raise ValueError(
            f"error {error} among {dict(human_errors)}: expected errors above 0 of at least two "
            "sizes"
        )
    falling = optimize.isotonic_regression(np.log(errors), increasing=False).x
    wanted = math.log(error)
    if wanted < falling[-1]:
        return math.inf
    if wanted > falling[0]:
        return 0.0
    return float(np.exp(np.interp(-wanted, -falling, np.log(sizes))))


# --- the curve ------------------------------------------------------------------------------


def _sorted_with_control(shares: Sequence[float], differences: ArrayLike) -> tuple[Values, Values]:
    """Shares ascending with the control's 0 in front, and the differences in that order."""
    x, d = np.asarray(shares, dtype=float), np.asarray(differences, dtype=float)
    if d.ndim != 2 or x.ndim != 1 or d.shape[1] != len(x) or not np.isfinite(d).all() or not len(d):
        raise ValueError(
            f"differences of shape {d.shape} over {len(x)} shares: expected finite numbers "
            "(seeds, shares)"
        )
    if len(x) < 2 or len(set(x.tolist())) < len(x) or not ((x > 0) & (x <= 1)).all():
        raise ValueError(f"shares {x.tolist()}: expected two different ones or more, in (0, 1]")
    order = np.argsort(x)
    return np.concatenate([[0.0], x[order]]), np.c_[np.zeros(len(d)), d[:, order]]


def _smoothed_mean(x: Values, d: Values, grid: Values) -> Values:
    """The mean curve over the grid less its value at 0.

    The control's own error is in all differences of a seed. So its 0 counts as a value like the
    others, not as known, and the curve is measured from where it begins.
    """
    if not d.any():  # no seed has moved
        return np.zeros(len(grid))
    x, grid, mean = x / x[-1], grid / x[-1], d.mean(axis=0)
    noise = _noise_variance(d)
    line = np.c_[np.ones(len(x)), x]
    kernel = _wiener_covariance(x, x)
    strength = _prior_variance(kernel, line, mean, noise)
    # Kriging with a linear trend: solve for the weights of the shares at each point of the grid.
    system = np.block(
        [[strength * kernel + noise * np.eye(len(x)), line], [line.T, np.zeros((2, 2))]]
    )
    at_grid = np.r_[
        strength * _wiener_covariance(x, grid), np.ones((1, len(grid))), grid[None]
    ]  # (shares + 2, points)
    weights = np.linalg.solve(system, at_grid)[: len(x)].T  # (points, shares)
    curve: Values = (weights - weights[:1]) @ mean
    return curve


def _noise_variance(d: Values) -> float:
    """Variance of a share's mean: what seeds and shares by themselves do not explain."""
    floor = float(np.square(_ROUNDING * np.abs(d).max()))
    if len(d) < 2:
        return floor
    residual = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    squares, df = float((residual**2).sum()), (len(d) - 1) * (len(d[0]) - 1)
    return max(squares / df / len(d), floor)


def _wiener_covariance(a: Values, b: Values) -> Values:
    """Covariance of the Wiener process integrated once, from 0; (len(a), len(b))."""
    low, high = np.minimum(a[:, None], b), np.maximum(a[:, None], b)
    covariance: Values = low**2 * (3 * high - low) / 6
    return covariance


def _prior_variance(kernel: Values, line: Values, mean: Values, noise: float) -> float:
    """The prior's variance of the greatest restricted likelihood; 0 is a straight line."""
    contrasts = np.linalg.qr(line, mode="complete")[0][:, 2:]
    own, vectors = np.linalg.eigh(contrasts.T @ kernel @ contrasts)
    squares = (vectors.T @ (contrasts.T @ mean)) ** 2
    scale = max(float((mean**2).max()), noise)
    candidates = np.r_[0.0, np.geomspace(1e-6, 1e6, 61) * scale]
    variance = candidates[:, None] * np.maximum(own, 0.0) + noise
    deviance = (np.log(variance) + squares / variance).sum(axis=1)
    return float(candidates[int(deviance.argmin())])
