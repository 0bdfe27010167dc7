"""How often a claim about a mean paired difference is supported, and how many seeds that takes."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

_POINTS = (np.arange(4000) + 0.5) / 4000  # quantiles at which the spread over seeds is averaged
MOST_SEEDS = 10_000


def power(
    num_seeds: int, difference: float, sd: float, bounds: tuple[float, float], level: float = 0.05
) -> float:
    """Return how often `equivalence` supports that the mean difference lies inside the bounds.

    With one infinite bound it is the one-sided t test, whose power is that of the noncentral t.
    With two, both one-sided tests have to reject with the same spread s between seeds, so the
    normal probability of the mean is averaged over the distribution of s (Phillips, J.
    Pharmacokinetics and Biopharmaceutics 18, 1990).

    >>> round(power(5, 1.0, 0.5, (0.0, math.inf)), 2)
    0.97

    Args:
        num_seeds: at least 2.
        difference: the true mean.
        sd: the true standard deviation between seeds, above 0.
        bounds: lower and upper; one may be infinite.
        level: of each one-sided test; level / k for Holm's first step among k claims.
    """
    df = num_seeds - 1
    t = float(special.stdtrit(df, 1 - level))
    spread = np.sqrt(special.chdtri(df, 1 - _POINTS) / df)  # s / sd
    error = sd / math.sqrt(num_seeds)
    low, high = ((bound - difference) / error for bound in bounds)
    inside = special.ndtr(high - t * spread) - special.ndtr(low + t * spread)
    return float(np.maximum(inside, 0).mean())


def seeds_needed(
    difference: float,
    sd: float,
    bounds: tuple[float, float],
    level: float = 0.05,
    wanted: float = 0.8,
) -> float:
    """Return the fewest seeds with this power; infinite where 10,000 do not reach it.

    >>> seeds_needed(1.0, 0.5, (0.0, math.inf))
    4
    """
    if not bounds[0] < difference < bounds[1]:
        return math.inf
    if sd == 0:
        return 2
    low, high = 1, 2  # `high` is enough or is the next to be tried
    while power(high, difference, sd, bounds, level) < wanted:
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        if power(middle, difference, sd, bounds, level) < wanted:
            low = middle
        else:
            high = middle
    return high


def difference_needed(num_seeds: int, questions: int, wanted: float = 0.8) -> float:
    """Return the smallest difference, in standard deviations between seeds, with this power.

    It is that of a paired t test on both sides at 0.05, by Holm's first step among so many
    questions, as for the only true difference among them.

    >>> round(difference_needed(3, 1), 1), round(difference_needed(3, 10), 1)
    (3.3, 10.4)
    """

    def missed(size: float) -> float:
        return power(num_seeds, size, 1.0, (0.0, math.inf), 0.025 / questions) - wanted

    return float(optimize.brentq(missed, 0.01, 1e6))


def upper_sd(sd: float, df: int, confidence: float = 0.8) -> float:
    """Return the upper confidence bound of a standard deviation of normal values.

    A study sized by it has the wanted power in `confidence` of pilots (Browne, Statistics in
    Medicine 14, 1995). With 2 degrees of freedom it is 2.1 times the estimate.
    """
    return sd * math.sqrt(df / float(special.chdtri(df, confidence)))
