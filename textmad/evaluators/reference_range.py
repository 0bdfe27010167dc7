"""Sampling variation of human text: where a metric of one more human text is expected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

LEVEL = 0.05
FEW = 10  # n-grams in common, up to which a gap is compared like a count
_ANSCOMBE = 3 / 8
_LARGEST_EXPONENT = 709  # of a float64


class ReferenceRange(NamedTuple):
    """Where the value of one more human text of the same size is expected.

    `low` to `high` is a prediction interval at 95 %, of Student's t with `df` degrees of freedom;
    `mean` is the mean of the human values. `centre` and `error` are on the scale on which values
    are compared: the mean, and the standard deviation of a new value's distance from it. The scale
    is the logarithm where `is_ratio`, the square root where values count things, each of which
    adds `one` to a value that is `none` without any, otherwise the value's own.
    """

    mean: float
    low: float
    high: float
    centre: float
    error: float
    df: int
    one: float = 0.0
    none: float = 0.0
    is_ratio: bool = False

    def distance(self, value: float) -> float:
        """Return the distance from the centre in standard deviations; NaN where either is NaN."""
        away = abs(_scaled(value, self.one, self.none, self.is_ratio) - self.centre)
        if self.error == 0 and away != 0:
            return math.nan if math.isnan(away) else math.inf
        return away / (self.error or 1.0)

    def p(self, value: float) -> float:
        """Return how probable a human value as far from the centre is, two-sided."""
        return float(2 * special.stdtr(self.df, -self.distance(value)))


def reference_range(
    values: Sequence[float],
    drawn_share: float,
    *,
    least_spread: float = 0.0,
    one: float = 0.0,
    none: float = 0.0,
    df: int | None = None,
    is_ratio: bool = False,
) -> ReferenceRange:
    """Return the range of human text from the values of several samples of one human text.

    Samples of a finite text, each without replacement, overlap by `drawn_share` in the mean, so
    their values are alike by as much (Cochran, Sampling Techniques, 1977, chapter 2). Of k values
    with variance s^2 the variance of independent texts is s^2 / (1 - drawn_share), and a new text's
    distance from the mean of the k has 1 + drawn_share + (1 - drawn_share) / k times as much.

    Counts of few documents are skewed: where most samples have no copy, one with three would
    seem impossible. So they are compared by their square roots (Anscombe, Biometrika 35, 1948),
    which are nearly normal, with the standard deviation 1/2 of Poisson's counts at least.

    Args:
        values: at least two; NaN in one makes all NaN.
        drawn_share: sample size as a share of the text that the samples come from, in [0, 1).
        least_spread: the smallest standard deviation of a value: a share of n things is
            not known finer than 1 / n, though by chance all samples may agree.
        one: what one thing adds to a value that counts things, such as documents; negative where it
            takes away.
        none: the value where there is no such thing.
        df: degrees of freedom of the variance; None: one less than there are values.
        is_ratio: values above 0 are compared by their logarithms, as those with a long upper tail.

    >>> result = reference_range([1.0, 3.0], drawn_share=0.0)
    >>> result.mean, round(result.error**2, 9)
    (2.0, 3.0)
    """
    k, scaled = len(values), [_scaled(value, one, none, is_ratio) for value in values]
    centre = float(np.mean(scaled))
    spread = math.sqrt(np.var(scaled, ddof=1) / (1 - drawn_share))
    least_spread = math.sqrt(abs(one)) / 2 if one else least_spread
    spread = spread if math.isnan(spread) else max(spread, least_spread)
    error = spread * math.sqrt(1 + drawn_share + (1 - drawn_share) / k)
    df = k - 1 if df is None else df
    reach = float(special.stdtrit(df, 1 - LEVEL / 2)) * error
    low, high = (_unscaled(edge, one, none, is_ratio) for edge in (centre - reach, centre + reach))
    mean = float(np.mean(values))
    return ReferenceRange(mean, low, high, centre, error, df, one, none, is_ratio)


def range_of_gaps(
    values: Sequence[float], num: float, drawn_share: float, df: int | None = None
) -> ReferenceRange:
    """Return the range of human text from gaps between n-grams of several samples and other text.

    An n-gram in common takes 1 / `num` from the gap of two texts, which is 1 without any. Few in
    common are a Poisson count, and are compared by its square root (`reference_range`): by the gap
    itself, 266 of 300 human texts with 0.6 triples in common lay inside, all others below, for a
    reference that happens to have none says that there can be none. Above `FEW` the gap counts no
    longer: frequent n-grams are in common to any two texts, and it varies less than a count.

    Args:
        values: of samples, at least two, in bits.
        num: n-grams of a text.
        drawn_share: as in `reference_range`.
        df: as in `reference_range`.
    """
    in_common = num * (1 - float(np.mean(values)))
    one = -1 / num if in_common < FEW else 0.0
    return reference_range(values, drawn_share, one=one, none=1.0, df=df)


def _scaled(value: float, one: float, none: float, is_ratio: bool) -> float:
    if is_ratio:
        return math.log(value) if value > 0 else -math.inf
    if not one:
        return value
    sign = math.copysign(1.0, one)
    # Rounding leaves a gap of two texts without a common n-gram a little above 1.
    return sign * math.sqrt(max(sign * (value - none), 0.0) + _ANSCOMBE * abs(one))


def _unscaled(value: float, one: float, none: float, is_ratio: bool) -> float:
    if is_ratio:
        return math.exp(value) if value < _LARGEST_EXPONENT else math.inf
    if not one:
        return value
    sign = math.copysign(1.0, one)
    return none + sign * (max(sign * value, 0.0) ** 2 - _ANSCOMBE * abs(one))
