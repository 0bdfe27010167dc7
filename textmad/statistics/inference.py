"""Statistics over seeds: the replicates are runs, paired by seed; never documents.

Every function takes plain numbers and returns plain numbers. `differences` are those of an arm to
the control of the same seed, which takes out what the two share: the human text that the seed
chose, and the order it came in. scipy does the work; what is here fixes the questions.

With the three to five seeds that a study can pay for, the t interval is the one to report. It
takes the differences to be about normal, and then covers as often as it says. Neither of the two
that take less for granted can say much: the bootstrap covers too seldom, and the sign-flip test
cannot reach 0.05 before there are six seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Values: TypeAlias = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its confidence interval; NaN bounds where one seed allows none."""

    estimate: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of the interval's width: what stands behind a ± where it is symmetric."""
        return (self.high - self.low) / 2


class Difference(NamedTuple):
    """A mean paired difference, its interval, and the p of the paired t test (two-sided)."""

    interval: Interval
    p: float


class SignFlips(NamedTuple):
    """A sign-flip test: its p, and the least p that so many seeds can give."""

    p: float
    least: float
    exact: bool  # all sign patterns were tried, not a random part of them


class Equivalence(NamedTuple):
    """Two one-sided tests: the larger p, and the interval that has to lie inside the bounds."""

    p: float
    interval: Interval  # at 1 - 2 * level


class Collapse(NamedTuple):
    """When each seed left the band for good; None (censored) where it had not by `last`."""

    times: tuple[int | None, ...]
    last: int
    median: float  # Kaplan and Meier's; infinite where half of the seeds never leave


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean with Student's t interval, mean ± t_{n-1} s / sqrt(n).

    >>> [round(x, 3) for x in mean_interval([1.0, 2.0, 3.0])[:3]]
    [2.0, -0.484, 4.484]

    Args:
        values: (seeds,), one number a seed.
        confidence: share of such intervals that hold the true mean, if values are normal.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence:g}: expected a share such as 0.95")
    x = _row(values)
    mean, error, df = _moments(x)
    reach = error * float(special.stdtrit(df, (1 + confidence) / 2)) if df else math.nan
    return Interval(mean, mean - reach, mean + reach, len(x))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    confidence: float = 0.95,
    *,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """The bias-corrected and accelerated bootstrap (Efron 1987), as scipy computes it.

    It resamples the seeds that there are, so its bounds never leave their range where the
    statistic is a mean. With three seeds there are ten different resamples, and the interval is
    that range itself, or nearly: of normal values it holds the true mean in 74 of 100 cases, with
    five seeds in 85, with twenty in 92. Take it for statistics that are not means, and for many
    seeds.

    >>> interval = bootstrap_interval([1.0, 2.0, 3.0])
    >>> 1.0 <= interval.low < 2.0 < interval.high <= 3.0
    True

    Args:
        values: (seeds,).
        statistic: of an array along `axis`, as `np.mean` and `np.median` take it.
        confidence: nominal share of such intervals that hold the true value.
        resamples: how many are drawn.
        seed: of the draws; equal seeds give equal intervals.
    """
    x = _row(values)
    estimate = float(statistic(x))
    if len(x) < 2:
        return Interval(estimate, math.nan, math.nan, len(x))
    if np.ptp(x) == 0:  # every resample is the same
        return Interval(estimate, estimate, estimate, len(x))
    found = stats.bootstrap(
        (x,),
        statistic,
        n_resamples=resamples,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high), len(x))


def paired_difference(arm: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Difference:
    """The mean of arm less control, seed by seed, with the t interval and p of the paired t test.

    >>> found = paired_difference([97.2, 98.5, 98.0], [69.5, 69.6, 69.6])
    >>> round(found.interval.estimate, 2), round(found.interval.half_width, 2), round(found.p, 4)
    (28.33, 1.5, 0.0002)

    Args:
        arm: (seeds,).
        control: (seeds,), of the same seeds in the same order.
        confidence: of the interval.
    """
    x, y = _row(arm), _row(control)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} values: expected one of each for every seed")
    mean, error, df = _moments(x - y)
    p = 2 * _beyond(abs(mean), error, df)
    return Difference(mean_interval(x - y, confidence), p)


def sign_flips(differences: ArrayLike, *, resamples: int = 9999, seed: int = 0) -> SignFlips:
    """Permutation test of paired differences: how often random signs give a mean as far from 0.

    Takes for granted only that, were there no effect, a difference would be as likely with the
    other sign (Fisher 1935). All 2^n patterns are tried where they are at most `resamples`, so
    the least p is 2^(1 - n): 0.25 with three seeds, 0.0625 with five. Six seeds are the fewest
    that can come below 0.05.

    >>> sign_flips([8.0, 8.9, 9.1])
    SignFlips(p=0.25, least=0.25, exact=True)

    Args:
        differences: (seeds,), arm less control.
        resamples: how many patterns are drawn where there are more.
        seed: of those draws.
    """
    x = _row(differences)
    exact = 2 ** len(x) <= resamples
    least = 2.0 ** (1 - len(x)) if exact else 2 / (resamples + 1)
    if len(x) < 2 or not x.any():
        return SignFlips(1.0, least, exact)
    p = stats.permutation_test(
        (x,),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).pvalue
    return SignFlips(float(p), least, exact)


def adjust(p: ArrayLike, method: Literal["holm", "benjamini-hochberg"] = "holm") -> Values:
    """The p values, adjusted for as many questions; NaN stays NaN and counts as no question.

    "holm": below 0.05 are, but for one family in twenty, only true effects (Holm 1979).
    "benjamini-hochberg": of those below 0.05 about one in twenty is none (1995).

    >>> adjust([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Args:
        p: (questions,).
        method: which error is held.
    """
    if method not in ("holm", "benjamini-hochberg"):
        raise ValueError(f"method: {method}: expected holm or benjamini-hochberg")
    given = np.asarray(p, dtype=float)
    adjusted, asked = np.full_like(given, np.nan), ~np.isnan(given)
    values = given[asked]
    if not len(values):
        return adjusted
    if method == "holm":
        order = np.argsort(values)
        steps = np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order])
        found = np.empty_like(values)
        found[order] = np.minimum(steps, 1)
    else:
        found = stats.false_discovery_control(values, method="bh")
    adjusted[asked] = found
    return adjusted


def slope(generations: ArrayLike, values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Change per generation: least squares within each seed, then the t interval over seeds.

    The generations of one seed follow from each other and are no replicates, so the residuals
    around a seed's line say nothing of the error of its slope.

    >>> [round(x, 2) for x in slope([0, 1, 2], [[0, 1, 2], [0, 2, 4], [0, 3, 6]])[:3]]
    [2.0, -0.48, 4.48]

    Args:
        generations: (generations,), at least two different ones.
        values: (seeds, generations).
        confidence: of the interval.
    """
    x, y = _row(generations), np.asarray(values, dtype=float)
    if y.ndim != 2 or y.shape[1] != len(x) or len(x) < 2 or np.ptp(x) == 0:
        raise ValueError(
            f"values of shape {y.shape} over {len(x)} generations: expected (seeds, generations) "
            "and at least two generations"
        )
    from_mean = x - x.mean()
    return mean_interval(y @ from_mean / (from_mean @ from_mean), confidence)


def equivalence(
    differences: ArrayLike, bounds: tuple[float, float], level: float = 0.05
) -> Equivalence:
    """Whether the mean difference lies between the bounds: two one-sided t tests.

    Schuirmann (1987). p < level if and only if the 1 - 2 level interval lies inside the bounds;
    then "no harm beyond the bound" is shown. A p above it shows nothing: neither harm nor none.
    The bounds have to be fixed before the runs are looked at.

    >>> equivalence([0.1, -0.1, 0.0], (-1.0, 1.0)).p < 0.05
    True

    Args:
        differences: (seeds,), arm less control.
        bounds: lower and upper, in the metric's unit.
        level: how often a difference at a bound may be called equivalent.
    """
    x = _row(differences)
    low, high = bounds
    if not low <= high:
        raise ValueError(f"bounds: {low:g} to {high:g}: expected the lower one first")
    mean, error, df = _moments(x)
    if df and not x.any():  # what measures exactly what the control does is as good as it
        p = float(not low < 0 < high)
    else:
        p = max(_beyond(mean - low, error, df), _beyond(high - mean, error, df))
    return Equivalence(p, mean_interval(x, 1 - 2 * level))


def time_to_collapse(
    generations: Sequence[int], differences: ArrayLike, band: tuple[float, float]
) -> Collapse:
    """The first generation from which on a seed's differences stay outside the band, on one side.

    To leave and to come back is no collapse, so a seed counts by the whole rest of its
    generations; the last generation alone outside counts with that generation. A seed that ends
    inside is censored: it would have left later, or never. A generation without a number (NaN)
    says nothing: it neither leaves nor comes back. The median is Kaplan and Meier's (1958).

    >>> time_to_collapse([0, 1, 2, 3], [[0, 3, 1, 4], [0, 2, 3, 4], [0, 0, 0, 0]], (-1.0, 1.0))
    Collapse(times=(3, 1, None), last=3, median=3.0)

    Args:
        generations: (generations,), ascending.
        differences: (seeds, generations), to the control of the same seed and generation.
        band: lower and upper tolerance in the metric's unit; infinite where that side is no harm.
    """
    x = np.asarray(differences, dtype=float)
    if x.ndim != 2 or not len(x) or x.shape[1] != len(generations):
        raise ValueError(
            f"differences of shape {x.shape} over {len(generations)} generations: expected "
            "(seeds, generations)"
        )
    times = tuple(_leaves(generations, row, band) for row in x)
    last = generations[-1]
    data = stats.CensoredData.right_censored(
        [last if time is None else time for time in times], [time is None for time in times]
    )
    survival = stats.ecdf(data).sf
    below = survival.quantiles[survival.probabilities <= 0.5]
    return Collapse(times, last, float(below[0]) if len(below) else math.inf)


def _leaves(generations: Sequence[int], row: Values, band: tuple[float, float]) -> int | None:
    """The first generation from which on all are above the band, or all below it."""
    known = np.flatnonzero(~np.isnan(row))
    for outside in (row[known] > band[1], row[known] < band[0]):
        to_the_end = np.logical_and.accumulate(outside[::-1])[::-1]
        if to_the_end.any():
            return int(generations[known[to_the_end.argmax()]])
    return None


def _row(values: ArrayLike) -> Values:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"{x.tolist()}: expected a row of finite numbers, one a seed")
    return x


def _moments(x: Values) -> tuple[float, float, int]:
    """Mean, its standard error (NaN for one value), and the degrees of freedom."""
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return float(x.mean()), error, len(x) - 1


def _beyond(distance: float, error: float, df: int) -> float:
    """Upper tail of t at distance / error.

    Values without any spread, as a coarse metric may have in a few seeds, are not endless
    evidence: they say as much as that all of them lie on one side, 1 in 2^n (the sign-flip test).
    """
    if df == 0:
        return math.nan
    if error == 0:
        sure = 2.0 ** -(df + 1)
        return 0.5 if distance == 0 else sure if distance > 0 else 1 - sure
    return float(special.stdtr(df, -distance / error))
