"""How far human text is from itself: what a text is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.05


class Ceiling(NamedTuple):
    """Where the value of one more human text of the same size is expected.

    `low` to `high` is a prediction interval at 95 %, of Student's t with `df` degrees of freedom,
    `centre` the mean of the human values, `error` the standard deviation of the distance of a new
    value from it.
    """

    centre: float
    low: float
    high: float
    error: float
    df: int

    def p(self, value: float) -> float:
        """How probable a human value is that is as far from the centre, two-sided."""
        from scipy.stats import t

        if math.isnan(value) or math.isnan(self.error):
            return math.nan
        if self.error == 0:
            return 1.0 if value == self.centre else 0.0
        return float(2 * t.sf(abs(value - self.centre) / self.error, self.df))


def ceiling(values: Sequence[float], drawn_share: float, least_spread: float = 0.0) -> Ceiling:
    """The ceiling from the values of several samples of one and the same human text.

    Samples of a finite text, each without replacement, overlap by `drawn_share` in the mean, so
    their values are alike by as much (Cochran, Sampling Techniques, 1977, chapter 2). Of k values
    with variance s^2 that of independent texts is s^2 / (1 - drawn_share), and a new text's
    distance from the mean of the k has 1 + drawn_share + (1 - drawn_share) / k times as much.

    Args:
        values: at least two; NaN in one makes all NaN.
        drawn_share: sample size by that of the text drawn from, in [0, 1).
        least_spread: what the standard deviation of a value is at least: a share of n things is
            not known finer than 1 / n, though by chance all samples may agree.

    >>> found = ceiling([1.0, 3.0], drawn_share=0.0)
    >>> found.centre, round(found.error**2, 9)
    (2.0, 3.0)
    """
    from scipy.stats import t

    k, centre = len(values), float(np.mean(values))
    spread = math.sqrt(np.var(values, ddof=1) / (1 - drawn_share))
    spread = spread if math.isnan(spread) else max(spread, least_spread)
    error = spread * math.sqrt(1 + drawn_share + (1 - drawn_share) / k)
    reach = float(t.ppf(1 - LEVEL / 2, k - 1)) * error
    return Ceiling(centre, centre - reach, centre + reach, error, k - 1)
