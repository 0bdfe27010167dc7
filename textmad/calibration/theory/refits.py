"""A1, A2, A5: models refitted on what they wrote. Sources: see the package."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# --- A1: a categorical model refitted on its own draws --------------------------------------


def zipf(num_categories: int) -> Floats:
    """Shares proportional to 1 / rank.

    >>> zipf(2).round(3).tolist()
    [0.667, 0.333]
    """
    weights = 1 / np.arange(1, num_categories + 1)
    shares: Floats = weights / weights.sum()
    return shares


def squared_shares(shares: Floats, draws: int, rounds: int) -> float:
    """Expected sum of p^2 after so many fits on so many draws: 1 - (1 - 1/n)^m (1 - S_0) [S].

    >>> round(squared_shares(zipf(1000), 500, 10), 5)
    0.04858
    """
    return float(1 - (1 - 1 / draws) ** rounds * (1 - np.sum(shares**2)))


def support(shares: Floats, draws: int, rounds: int) -> float:
    """Expected number of categories that are left.

    The count of one category is a Markov chain by itself: binomial with its last share. (In [S],
    a bound; this is exact.)

    >>> round(support(zipf(1000), 500, 5), 1)
    89.4
    """
    from scipy.stats import binom

    counts = np.arange(draws + 1)
    is_left = (counts > 0).astype(float)
    if rounds > 1:
        step = binom.pmf(counts, draws, counts[:, None] / draws)
        for _ in range(rounds - 1):
            is_left = step @ is_left
    return float((binom.pmf(counts, draws, shares[:, None]) @ is_left).sum())


# --- A2, A5: a Gaussian refitted on its own draws -------------------------------------------


def variance(bias: float, generation: int) -> float:
    """Expected variance lambda^t at generation t, with draws from N(mean, lambda variance) [A].

    >>> round(variance(0.8, 10), 4)
    0.1074
    """
    return bias**generation


def median_variance(draws: int, rounds: int) -> float:
    """Median of the variance after so many unbiased fits: of a product of chi^2 / (n - 1).

    The distribution of its logarithm is read off its characteristic function
    (Gil-Pelaez, "Note on the inversion theorem", Biometrika 38, 1951).

    >>> round(median_variance(100, 1), 4)  # of chi^2 with 99 degrees of freedom, over 99
    0.9933
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq
    from scipy.special import loggamma

    half = (draws - 1) / 2

    def below(log_variance: float) -> float:
        def integrand(u: float) -> float:
            one = loggamma(half + 1j * u) - loggamma(half) - 1j * u * math.log(half)
            return float((np.exp(rounds * one - 1j * u * log_variance)).imag / u)

        area, _ = quad(integrand, 1e-9, 40 * math.sqrt(half / rounds), limit=500)
        return 0.5 - float(area) / math.pi

    return math.exp(brentq(lambda x: below(x) - 0.5, -4 * rounds / half - 1, 1))


def replace_error(generation: int) -> float:
    """Expected squared error of the mean, in errors of one round: each round adds one [G].

    >>> replace_error(10)
    11
    """
    return generation + 1


def accumulate_error(draws: int, generation: int) -> float:
    """The same where n human documents and n of each earlier generation are kept.

    [G] has 1 + 1/4 + 1/9 + ... < pi^2/6, with n human documents at generation 0. In textmad
    generation 0 has the budget of generation 1, 2n human documents, so it begins at 1/2; of these
    the first n stay, which makes generation 1's mean
    (3/4 H + 1/4 H' + 1/2 e_0), of error 9/16 + 1/16 + 1/4, and then, as the mean of what n draws
    add to (g + 1) n documents is the old one plus e_g / (g + 2), each later round adds 1/9, 1/16,
    ... The variances are those of the fits, which fall behind 1 by some 1 / n.

    >>> round(accumulate_error(1000, 2), 3), round(7/8 + 1/9, 3)
    (0.986, 0.986)
    """
    n, error, spread = draws, [1 / (2 * draws)], [1.0]
    for g in range(1, generation + 1):
        if g == 1:
            error.append((9 / 16 + 1 / 16) / n + spread[0] / (4 * n))
        else:
            error.append(error[-1] + spread[-1] / (n * (g + 1) ** 2))
        size = (g + 1) * n
        squares = n + n * sum(spread[:g]) + n * sum(error[:g])
        spread.append((squares - size * error[g]) / (size - 1))
    return error[generation] * n
