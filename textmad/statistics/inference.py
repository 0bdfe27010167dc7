"""Statistics over seeds: the replicates are runs, paired by seed.

Every function takes plain numbers and returns plain numbers. `differences` are those of an arm to
the control of the same seed: the pair takes out the human text that the seed chose and its order.

With the three to five seeds that a study can pay for, the t interval is the one to report. It
assumes that the differences are about normal, and then covers as often as it promises. The two
methods that assume less are of little use here: the bootstrap covers too seldom, and the sign-flip
test cannot reach 0.05 with fewer than six seeds.

All of these are conditional on the human pool, the held-out documents and the base model that the
seeds share. `pool_factor` and `crossed_interval` say what changes without that condition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import scipy  # loads scipy.stats, a second of work, where one of its functions is first called
from numpy.typing import ArrayLike, NDArray
from scipy import special

Values: TypeAlias = NDArray[np.float64]

_ROUNDING = 1e-9  # of the mean: a smaller spread is that of floating-point numbers


class Interval(NamedTuple):
    """An estimate with its confidence interval; NaN bounds where one seed allows none."""

    estimate: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Return half of the interval's width."""
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
    """An equivalence test: its p, and the interval that has to lie inside the bounds."""

    p: float
    interval: Interval  # at 1 - 2 * level


class Collapse(NamedTuple):
    """When each seed left the band for good; None (censored) where it had not by `last`."""

    times: tuple[int | None, ...]
    last: int
    median: float  # Kaplan and Meier's; infinite where half of the seeds never leave


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean with Student's t interval, mean ± t_{n-1} s / sqrt(n).

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
    """Return the bias-corrected and accelerated bootstrap interval (Efron 1987).

    Of a mean its bounds never leave the range of the seeds. With three seeds there are ten
    different resamples, and the interval is nearly that range: of normal values it holds the true
    mean in 74 of 100 cases, with five seeds in 85, with twenty in 92. Use it for statistics that
    are not means, and for many seeds.

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
    result = scipy.stats.bootstrap(
        (x,),
        statistic,
        n_resamples=resamples,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(result.low), float(result.high), len(x))


def paired_difference(arm: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Difference:
    """Return the mean of arm less control, its t interval, and the p of the paired t test.

    >>> result = paired_difference([97.2, 98.5, 98.0], [69.5, 69.6, 69.6])
    >>> round(result.interval.estimate, 2), round(result.interval.half_width, 2), round(result.p, 4)
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
    """Test by random signs how often the mean of paired differences is as far from 0.

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
    p = scipy.stats.permutation_test(
        (x,),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).pvalue
    return SignFlips(float(p), least, exact)


def adjust(p: ArrayLike, method: Literal["holm", "benjamini-hochberg"] = "holm") -> Values:
    """Return the p values adjusted for their number; NaN stays NaN and is not counted.

    "holm": in 19 of 20 families no p below 0.05 is a false positive (Holm 1979).
    "benjamini-hochberg": about one in twenty of the p below 0.05 is a false positive (1995).

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
        result = np.empty_like(values)
        result[order] = np.minimum(steps, 1)
    else:
        result = scipy.stats.false_discovery_control(values, method="bh")
    adjusted[asked] = result
    return adjusted


def pool_factor(num_seeds: int, share: float) -> float:
    """Return how much wider the t interval over seeds has to be to hold for new human text.

    Seeds that each learn the share f of one finite pool are alike in what they learned, and all
    depend on which pool it was. If a value of one seed has the variance v under new human text, the
    spread over seeds shows (1 - f) v alone, and the mean of S seeds has (1 - f) v / S + f v
    (sampling without replacement; Cochran, Sampling Techniques, 1977, chapter 2). So the interval
    grows by sqrt(1 + S f / (1 - f)). It is too wide where seeds also differ for other reasons than
    their human text. Infinite for f = 1.

    >>> round(pool_factor(3, 0.4), 2)
    1.73

    Args:
        num_seeds: over which the interval was computed.
        share: of the pool that one seed learns, in [0, 1].
    """
    return math.sqrt(1 + num_seeds * share / (1 - share)) if share < 1 else math.inf


def crossed_interval(
    differences: ArrayLike, weights: ArrayLike | None = None, confidence: float = 0.95
) -> Interval:
    """Return the mean difference with an interval for new seeds and new held-out documents.

    Every seed is measured on the same documents, so both are random and crossed: a difference is
    mean + seed + document + rest. The variance of the weighted mean is estimated as that of the
    seeds' means plus that of the documents' means less the rest, which both contain, and is never
    below the larger of the two; its degrees of freedom are Satterthwaite's. This is the quasi-F of
    Clark (Journal of Verbal Learning and Verbal Behavior 12, 1973) as an interval; Cameron, Gelbach
    and Miller (JBES 29, 2011) derive the same variance for clusters in two ways.

    >>> rng = np.random.default_rng(0)
    >>> d = 0.1 + rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 0.5, 200)
    >>> interval = crossed_interval(d)
    >>> interval.half_width > mean_interval(d.mean(axis=1)).half_width
    True

    Args:
        differences: (seeds, documents), at least two of each: arm less control, e.g. of a
            document's loss in nats per token.
        weights: (documents,), above 0, e.g. a document's tokens; equal by default.
        confidence: of the interval.
    """
    d = np.asarray(differences, dtype=float)
    if d.ndim != 2 or min(d.shape) < 2 or not np.isfinite(d).all():
        raise ValueError(
            f"differences of shape {d.shape}: expected finite numbers (seeds, documents), at least "
            "two of each"
        )
    num_seeds, num_documents = d.shape
    w = np.ones(num_documents) if weights is None else _row(weights)
    if len(w) != num_documents or not (w > 0).all():
        raise ValueError(f"{len(w)} weights: expected one above 0 for each of {num_documents}")
    w = w / w.sum()
    of_seeds, of_documents = d @ w, d.mean(axis=0)
    mean = float(of_seeds.mean())
    rest = d - of_seeds[:, None] - of_documents + mean
    free = num_documents / (num_documents - 1)
    seeds = float(of_seeds.var(ddof=1)) / num_seeds
    documents = float((w**2 * (of_documents - mean) ** 2).sum()) * free
    both = float((w**2 * rest**2).sum()) * free / (num_seeds * (num_seeds - 1))
    variance = max(seeds + documents - both, seeds, documents)
    if variance == 0:
        return Interval(mean, mean, mean, num_seeds)
    df = variance**2 / (
        seeds**2 / (num_seeds - 1)
        + documents**2 / (num_documents - 1)
        + both**2 / ((num_seeds - 1) * (num_documents - 1))
    )
    reach = float(special.stdtrit(df, (1 + confidence) / 2)) * math.sqrt(variance)
    return Interval(mean, mean - reach, mean + reach, num_seeds)


def slope(generations: ArrayLike, values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the change per generation: least squares in each seed, then the interval over seeds.

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
    """Test whether the mean difference lies between the bounds: two one-sided t tests.

    Schuirmann (1987). p < level if and only if the 1 - 2 level interval lies inside the bounds.
    With one infinite bound it is a test of non-inferiority. A larger p supports neither harm nor
    its absence. Fix the bounds before you look at the runs.

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


def exceedance(differences: ArrayLike, bounds: tuple[float, float]) -> float:
    """Return the p of the claim that the mean difference lies outside the bounds.

    The smaller p of two one-sided t tests, of which an effect inside the bounds can trigger only
    the nearer one; the counterpart of `equivalence`.

    >>> exceedance([2.1, 1.9, 2.0], (-1.0, 1.0)) < 0.05
    True

    Args:
        differences: (seeds,), arm less control.
        bounds: lower and upper, in the metric's unit.
    """
    x = _row(differences)
    mean, error, df = _moments(x)
    return min(_beyond(mean - bounds[1], error, df), _beyond(bounds[0] - mean, error, df))


def time_to_collapse(
    generations: Sequence[int], differences: ArrayLike, band: tuple[float, float]
) -> Collapse:
    """Return when each seed's differences leave the band for good, and the median over seeds.

    The time of a seed is the first generation from which on all are above the band, or all below
    it. A seed that ends inside is censored. A generation without a number (NaN) is skipped. The
    median is Kaplan and Meier's (1958).

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
    data = scipy.stats.CensoredData.right_censored(
        [last if time is None else time for time in times], [time is None for time in times]
    )
    survival = scipy.stats.ecdf(data).sf
    below = survival.quantiles[survival.probabilities <= 0.5]
    return Collapse(times, last, float(below[0]) if len(below) else math.inf)


def lead(
    signal: Sequence[int | None], other: Sequence[int | None], last: int, confidence: float = 0.95
) -> Interval:
    """Return by how many generations the signal leaves its tolerance before the other.

    The mean over seeds of the other's time less the signal's, with Student's t interval. A seed
    that had not left by the last generation counts as leaving right after it, so a lead is a lead
    within the generations that were run. A time is known to a generation, so a difference of two
    has a rounding error of variance 1/6; the spread over seeds counts as no smaller than that.

    >>> [round(x, 2) for x in lead([1, 1, 2, 1, 1], [3, 4, 4, 3, 3], last=5)[:3]]
    [2.2, 1.64, 2.76]

    Args:
        signal: (seeds,), as `Collapse.times` has them.
        other: (seeds,), of the same seeds in the same order.
        last: the last generation.
        confidence: of the interval; 1 - 0.05 / k for one of k signals looked at together.
    """
    if len(signal) != len(other) or not signal:
        raise ValueError(f"{len(signal)} and {len(other)} times: expected one for every seed")
    x = np.array(
        [
            (last + 1 if b is None else b) - (last + 1 if a is None else a)
            for a, b in zip(signal, other, strict=True)
        ],
        dtype=float,
    )
    mean, error, df = _moments(x)
    error = max(error, math.sqrt(1 / 6 / len(x)))
    reach = error * float(special.stdtrit(df, (1 + confidence) / 2)) if df else math.nan
    return Interval(mean, mean - reach, mean + reach, len(x))


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
    mean = float(x.mean())
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    if error <= _ROUNDING * abs(mean):  # equal shares, such as 1/2 - 1/12 and 7/12 - 1/6
        error = 0.0
    return mean, error, len(x) - 1


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
