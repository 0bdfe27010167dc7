"""Selection and response: the breeder's equation R = h2 S, and where it leads.

S, the selection differential, is the mean of a trait over what is kept less its mean over all that
was drawn. R, the response, is what of it the next generation shows. Their ratio is the realised
heritability h2 (Falconer and Mackay, Introduction to Quantitative Genetics, chapter 11). In a loop
of models it is how far a model learns what was selected: 1 where it writes what it was given, 0
where it stays as it was.

From the generations so far the equation is applied again and again. Two things are then unknown,
and both widen the band: h2 itself, and how fast S fades, since a trait that has been selected
varies less. This is an extrapolation. It knows nothing of what the next generations will be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVEL = 0.8  # of the bands
_DRAWS = 4000
# Before anything is measured h2 is taken to be about 0.5, and nearly always between -0.5 and 1.5.
_PRIOR_MEAN, _PRIOR_SD = 0.5, 0.5
# S fades by its measured rate to this power, evenly drawn: half as fast to twice as fast.
_FADE = (0.5, 2.0)
_STEP_SD = 0.2  # of a response, as a share of it: models and texts of a generation differ by chance
_SURE = 2.0  # standard errors that S has to be away from 0


class Response(NamedTuple):
    """Selection and response of one trait, by generation."""

    differentials: tuple[float, ...]  # S: kept less drawn
    responses: tuple[float, ...]  # R: drawn of the next generation less drawn; one fewer
    heritability: float  # R / S over all generations that have both; NaN where S is 0


class Band(NamedTuple):
    """The median of the extrapolated values, and the band that holds 80 % of them."""

    middle: float
    low: float
    high: float


def response(drawn: Sequence[float], kept: Sequence[float]) -> Response:
    """Return selection differentials, responses and the realised heritability.

    The heritability is the slope of R on S through the origin: sum of R S by sum of S squared.

    >>> response([20.0, 16.0], [12.0, 12.0])
    Response(differentials=(-8.0, -4.0), responses=(-4.0,), heritability=0.5)

    Args:
        drawn: `(generations,)` mean of the trait over all that was drawn.
        kept: `(generations,)` likewise over what was kept.
    """
    s, r = np.subtract(kept, drawn), np.diff(drawn)
    used = s[: len(r)]
    scale = float(used @ used)
    h2 = float(r @ used) / scale if scale > 0 else math.nan
    return Response(tuple(map(float, s)), tuple(map(float, r)), h2)


def is_selected(drawn: Sequence[float], kept: Sequence[float], error: float) -> bool:
    """Return whether the mean selection differential is more than two standard errors from 0.

    Args:
        drawn: `(generations,)`.
        kept: `(generations,)`.
        error: standard error of one of these values.
    """
    s = np.subtract(kept, drawn)
    return bool(abs(s.mean()) > _SURE * error * math.sqrt(2 / len(s)))


def extrapolate(
    drawn: Sequence[float],
    kept: Sequence[float],
    error: float,
    num_generations: int,
    rng: np.random.Generator,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Values:
    """Draw possible courses of a trait, `(draws, num_generations)`, from the generations so far.

    In each draw: the measured values move by their error; h2 is drawn from its posterior, normal
    with a normal prior (0.5 ± 0.5) and cut at 0; S fades by its measured rate, half to twice as
    fast, and never grows; each response has a random part of 20 %; the values of the future are
    measured with the same error.

    Args:
        drawn: `(generations,)`, at least two.
        kept: `(generations,)`.
        error: standard error of one of these values, above 0.
        num_generations: how many follow.
        rng: of the draws.
        bounds: smallest and largest value that the trait can have.
    """
    shape = (_DRAWS, len(drawn))
    d = np.asarray(drawn) + error * rng.standard_normal(shape)
    s = np.asarray(kept) + error * rng.standard_normal(shape) - d
    h2 = _draw_heritability(d, s, error, rng)
    fade = _draw_fade(s, rng)
    value, gap, paths = d[:, -1], s[:, -1], []
    for _ in range(num_generations):
        step = h2 * gap * (1 + _STEP_SD * rng.standard_normal(_DRAWS))
        value, gap = np.clip(value + step, *bounds), gap * fade
        paths.append(np.clip(value + error * rng.standard_normal(_DRAWS), *bounds))
    return np.stack(paths, axis=1) if paths else np.zeros((_DRAWS, 0))


def _draw_heritability(d: Values, s: Values, error: float, rng: np.random.Generator) -> Values:
    """Draw h2 of each draw, `(draws,)`, given values d and differentials s `(draws, steps + 1)`."""
    r, used = np.diff(d, axis=1), s[:, :-1]
    variance = 2 * error**2 + (_STEP_SD * r) ** 2  # of a response, given h2 and S
    precision = 1 / _PRIOR_SD**2 + (used**2 / variance).sum(axis=1)
    mean = _PRIOR_MEAN / _PRIOR_SD**2 + (r * used / variance).sum(axis=1)
    drawn: Values = mean / precision + rng.standard_normal(len(d)) / np.sqrt(precision)
    return np.maximum(drawn, 0.0)


def _draw_fade(s: Values, rng: np.random.Generator) -> Values:
    """Draw by which factor S changes in a generation, `(draws,)` in [0, 1]."""
    num_steps = s.shape[1] - 1
    ratio = s[:, -1] / np.where(s[:, 0] == 0, np.inf, s[:, 0])
    rate = np.clip(ratio, 0.0, 1.0) ** (1 / num_steps)
    powers = np.exp(rng.uniform(math.log(_FADE[0]), math.log(_FADE[1]), len(s)))
    fade: Values = rate**powers
    return fade


def bands(paths: Values) -> list[Band]:
    """Return the median and the 80 % band of each generation.

    >>> bands(np.arange(11.0)[:, None])
    [Band(middle=5.0, low=1.0, high=9.0)]
    """
    tail = (1 - LEVEL) / 2
    low, middle, high = np.quantile(paths, [tail, 0.5, 1 - tail], axis=0)
    return [Band(*map(float, each)) for each in zip(middle, low, high, strict=True)]


def passing(paths: Values, start: float, tolerance: float, first: int) -> Band:
    """Return the generation at which a trait has moved further than the tolerance.

    Infinite where that is not within the generations of the paths.

    >>> passing(np.array([[1.0, 2.0, 3.0]]), start=0.0, tolerance=1.5, first=2)
    Band(middle=3.0, low=3.0, high=3.0)

    Args:
        paths: `(draws, generations)`.
        start: the value that the trait moves away from.
        tolerance: in the trait's unit.
        first: number of the paths' first generation.
    """
    beyond = np.abs(paths - start) > tolerance
    when = np.where(beyond.any(axis=1), first + beyond.argmax(axis=1), np.inf)
    # A quantile between a generation and never is never.
    tail = (1 - LEVEL) / 2
    quantiles = np.quantile(when, [0.5, tail, 1 - tail], method="inverted_cdf")
    return Band(*map(float, quantiles))
