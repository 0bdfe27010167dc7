"""The critical share of model text: how much may be mixed in before a loss leaves a tolerance?

Plain numbers in, plain numbers out. A *share* is that of a generation's training tokens that a
model wrote. It grows in two ways, which are two questions: model text *replaces* human text (the
total stays), or it is *added* to human text (the human amount stays).

The mean difference to the human-only control is fitted over the shares by a smoothing spline: the
prior of Wahba (1978), an integrated Wiener process, whose smoothness is what the differences make
most likely (restricted maximum likelihood), with the noise that the seeds show. The fit is linear
in the values, so it is made in each seed, and the spread of the seeds' curves gives Student's t
band whatever the shares of a seed have in common. How far the curve may stray between two shares
that were run adds to the band, as the prior has it. Where the band holds the tolerance is the
interval of the share (Fieller 1954).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

Values: TypeAlias = NDArray[np.float64]

_STEPS = 1000  # of the curve, from 0 to the largest share
_FINEST = 0.02  # shares nearer to each other than this are not worth a run between them
_NOISE = 1e-9  # of the largest difference; seeds that agree in all are not free of rounding


class Band(NamedTuple):
    """A curve over the shares with its confidence band, each (points,); NaN bounds of one seed."""

    shares: Values
    mean: Values
    low: Values
    high: Values


class CriticalShare(NamedTuple):
    """The least share at which the curve leaves the bounds; infinite where that is beyond all run.

    `harmless` is the largest share run up to which no harm beyond the bounds is shown: there the
    90 % band lies inside, as in a test of equivalence. 0 where none is. It is a share that was
    run, since a curve may be steeper between two than it looks from them. NaN where one seed
    allows no interval.
    """

    estimate: float
    low: float
    high: float
    harmless: float
    band: Band
    n: int  # seeds


def critical_share(
    shares: Sequence[float],
    differences: ArrayLike,
    bounds: tuple[float, float],
    confidence: float = 0.95,
) -> CriticalShare:
    """How large a share of model text may be before the mean difference leaves the bounds.

    >>> found = critical_share([0.2, 0.6, 1.0], [[1, 3, 5.2], [1.1, 2.9, 4.9]], (-math.inf, 2.0))
    >>> round(found.estimate, 1), found.low < found.estimate < found.high
    (0.4, True)

    Args:
        shares: (shares,), at least two different ones above 0.
        differences: (seeds, shares), to the control of the same seed, whose share is 0.
        bounds: lower and upper tolerance in the metric's unit; infinite where that side is no harm.
        confidence: of the interval.

    Raises:
        ValueError: numbers that are none, or fewer than two shares.
    """
    x, d = _checked(shares, differences)
    grid = np.linspace(0.0, x[-1], _STEPS + 1)
    curves, stray = _smoothed(x, d, grid)
    astray = float(special.ndtri((1 + confidence) / 2)) * stray
    band = _band(grid, curves, astray, confidence)
    # How far the curve strays is no matter of chance between seeds, and stays as it is.
    sure = _band(grid, curves, astray, 1 - 2 * (1 - confidence))
    low = high = harmless = math.nan
    if len(d) > 1:
        low = _first(grid, (band.high >= bounds[1]) | (band.low <= bounds[0]))
        inside = np.flatnonzero((band.low <= bounds[1]) & (band.high >= bounds[0]))
        high = float(grid[inside[-1]]) if inside[-1] < _STEPS else math.inf
        leaves = _first(grid, (sure.high >= bounds[1]) | (sure.low <= bounds[0]))
        harmless = float(x[x < leaves].max(initial=0.0))
    estimate = _first(grid, (band.mean >= bounds[1]) | (band.mean <= bounds[0]))
    return CriticalShare(estimate, low, high, harmless, band, len(d))


def next_share(shares: Sequence[float], estimate: float) -> float | None:
    """Where the next run tells most: at the estimate, but within its gap between two shares run.

    A quarter of the gap stays on either side, so each run narrows it by a quarter at least even
    where the curve misleads, and by more the straighter the curve is there.

    >>> next_share([0.1, 0.9], 0.42), next_share([0.1, 0.9], 0.15), next_share([0.1, 0.9], 0.04)
    (0.42, 0.3, 0.04)

    Args:
        shares: those that were run beside the control, whose share is 0.
        estimate: the critical share that they give.

    Returns:
        A share to three decimals; None where the estimate is above all of them, or those around
        it are close enough together.
    """
    there = [0.0, *sorted(shares)]
    place = int(np.searchsorted(there, estimate))
    if not 0 < place < len(there):
        return None
    below, above = there[place - 1], there[place]
    if above - below < _FINEST:
        return None
    quarter = (above - below) / 4
    return round(min(max(estimate, below + quarter), above - quarter), 3)


def effective_sample_size(error: float, human_errors: Mapping[int, float]) -> float:
    """How many human tokens (or documents) alone would give this error.

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


def _checked(shares: Sequence[float], differences: ArrayLike) -> tuple[Values, Values]:
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


def _smoothed(x: Values, d: Values, grid: Values) -> tuple[Values, Values]:
    """Each seed's curve over the grid less its value at 0, and the prior's spread around the fit.

    The control's own error is in all differences of a seed. So its 0 counts as a value like the
    others, not as known, and the curve is read from where it begins.
    """
    if not d.any():  # nothing has moved in any seed
        return np.zeros((len(d), len(grid))), np.zeros(len(grid))
    top, mean = x[-1], d.mean(axis=0)
    x, grid = x / top, grid / top
    noise = _noise(d)
    line = np.c_[np.ones(len(x)), x]
    kernel = _wiener(x, x)
    strength = _strength(kernel, line, mean, noise)
    system = np.block(
        [[strength * kernel + noise * np.eye(len(x)), line], [line.T, np.zeros((2, 2))]]
    )
    between = _wiener(x, grid)
    wanted = np.r_[strength * between, np.ones((1, len(grid))), grid[None]]
    weights = np.linalg.solve(system, wanted)[: len(x)].T
    weights -= weights[:1]  # (grid, shares)
    own = grid**3 / 3
    stray = own - 2 * (weights * between.T).sum(1) + ((weights @ kernel) * weights).sum(1)
    return d @ weights.T, np.sqrt(np.maximum(strength * stray, 0.0))


def _noise(d: Values) -> float:
    """Variance of a share's mean: what seeds and shares by themselves do not explain."""
    floor = float(np.square(_NOISE * np.abs(d).max()))
    if len(d) < 2:
        return floor
    rest = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    squares, free = float((rest**2).sum()), (len(d) - 1) * (len(d[0]) - 1)
    return max(squares / free / len(d), floor)


def _wiener(a: Values, b: Values) -> Values:
    """Covariance of the Wiener process integrated once, from 0."""
    low, high = np.minimum(a[:, None], b), np.maximum(a[:, None], b)
    found: Values = low**2 * (3 * high - low) / 6
    return found


def _strength(kernel: Values, line: Values, mean: Values, noise: float) -> float:
    """The prior's variance of the greatest restricted likelihood; 0 is a straight line."""
    free = np.linalg.qr(line, mode="complete")[0][:, 2:]
    own, vectors = np.linalg.eigh(free.T @ kernel @ free)
    along = (vectors.T @ (free.T @ mean)) ** 2
    scale = max(float((mean**2).max()), noise)
    tried = np.r_[0.0, np.geomspace(1e-6, 1e6, 61) * scale]
    variance = tried[:, None] * np.maximum(own, 0.0) + noise
    unlikely = (np.log(variance) + along / variance).sum(axis=1)
    return float(tried[int(unlikely.argmin())])


def _band(grid: Values, curves: Values, astray: Values, confidence: float) -> Band:
    mean, n = curves.mean(axis=0), len(curves)
    if n < 2:
        nothing = np.full_like(mean, math.nan)
        return Band(grid, mean, nothing, nothing)
    error = curves.std(axis=0, ddof=1) / math.sqrt(n)
    reach = np.hypot(special.stdtrit(n - 1, (1 + confidence) / 2) * error, astray)
    return Band(grid, mean, mean - reach, mean + reach)


def _first(grid: Values, outside: NDArray[np.bool_]) -> float:
    return float(grid[outside.argmax()]) if outside.any() else math.inf
