"""Exact expectations for the loops of the categorical and the Gaussian model.

Generation 0 learns from human text, so after generation g a model has been fitted g + 1 times. One
fit on n documents is called a round. For the Gaussian, human text is standard normal, so errors are
in units of the human variance.

Sources: [S] Seddik et al. 2404.05090; [A] Alemohammad et al. 2307.01850; [F] Ferbach et al.
2407.09499; [G] Gerstgrasser et al. 2404.01413.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# --- A1: a categorical model refitted on its own draws --------------------------------------


def zipf(num_categories: int) -> Floats:
    """Return shares proportional to 1 / rank.

    >>> zipf(2).round(3).tolist()
    [0.667, 0.333]
    """
    weights = 1 / np.arange(1, num_categories + 1)
    shares: Floats = weights / weights.sum()
    return shares


def squared_shares(shares: Floats, draws: int, rounds: int) -> float:
    """Return the expected sum of p^2 after m fits on n draws: 1 - (1 - 1/n)^m (1 - S_0) [S].

    >>> round(squared_shares(zipf(1000), 500, 10), 5)
    0.04858
    """
    return float(1 - (1 - 1 / draws) ** rounds * (1 - np.sum(shares**2)))


def support(shares: Floats, draws: int, rounds: int) -> float:
    """Return the expected number of categories that are left.

    The count of each category is a Markov chain: binomial with its last share. [S] gives a bound;
    this value is exact.

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
    """Return the expected variance lambda^t at generation t [A].

    Draws are from N(mean, lambda variance).

    >>> round(variance(0.8, 10), 4)
    0.1074
    """
    return bias**generation


def median_variance(draws: int, rounds: int) -> float:
    """Return the median variance after unbiased fits: that of a product of chi^2 / (n - 1).

    The distribution of its logarithm comes from the characteristic function (Gil-Pelaez, "Note on
    the inversion theorem", Biometrika 38, 1951).

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
    """Return the expected squared error of the mean, in errors of one round. Each adds one [G].

    >>> replace_error(10)
    11
    """
    return generation + 1


def accumulate_error(draws: int, generation: int) -> float:
    """Return this error if n human documents and n documents of each earlier generation are kept.

    [G] derives 1 + 1/4 + 1/9 + ... < pi^2/6 for n human documents at generation 0. In textmad
    generation 0 has the budget of generation 1, 2n human documents, so its error is 1/2. The first
    n of them stay. So the mean of generation 1 is 3/4 H + 1/4 H' + 1/2 e_0, with the error
    9/16 + 1/16 + 1/4. Later, n draws are added to (g + 1) n documents, which moves the mean by
    e_g / (g + 2). So each later round adds 1/9, 1/16, ... The variances are those of the fits,
    which are below 1 by about 1 / n.

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


# --- A6: fresh human text -------------------------------------------------------------------


def start_moments(draws: int) -> Floats:
    """Return the moments of a fit on `draws` human documents, `(3, 3)`.

    They are E[x x'] of x = (1, q, s), where q is the squared error of the mean and s the variance.
    """
    n = draws
    return np.array([[1, 1 / n, 1], [1 / n, 3 / n**2, 1 / n], [1, 1 / n, (n + 1) / (n - 1)]])


def fresh_moments(moments: Floats, human: int, model: int, bias: float) -> Floats:
    """Return the moments one generation later, after a fit on h fresh human and m model documents.

    Given the model, the human part has the mean H ~ N(0, 1/h) and the model's part the mean
    X ~ N(mean, lambda s/m). The sums of squares within the parts are A ~ chi^2 of h - 1 and
    B ~ lambda s chi^2 of m - 1. All four are independent. Between the parts the sum of squares is
    (H - X)^2 hm/(h + m). So the next mean is (h H + m X)/(h + m), and the next variance is
    (A + B + (H - X)^2 hm/(h + m))/(h + m - 1). Both means are normal. So the expectation of each
    product of two of (1, q, s) is again linear in such products, and the moments close. Below,
    vectors are linear forms in (1, q, s), and f @ moments @ g is the expectation of a product.
    """
    one, q, s = np.eye(3)
    total, between, r = human + model, human * model / (human + model), model / (human + model)
    of_human, of_model = one / human, bias * s / model  # variances of H and X, given the model
    of_mean = (1 - r) ** 2 * of_human + r**2 * of_model
    of_gap = of_human + of_model
    common = (1 - r) * of_human - r * of_model  # covariance of the next mean and the gap H - X

    def product(f: Floats, g: Floats) -> float:
        return float(f @ moments @ g)

    within = (human - 1) * one + bias * (model - 1) * s
    within_squared = (
        product(within, within) + 2 * (human - 1) + 2 * bias**2 * (model - 1) * product(s, s)
    )
    # Normal numbers with the means r mean and -mean: both 4th moments, and that of the squares.
    mean_squared, gap_squared = r**2 * q + of_mean, q + of_gap
    mean_fourth = (
        r**4 * product(q, q) + 6 * r**2 * product(q, of_mean) + 3 * product(of_mean, of_mean)
    )
    gap_fourth = product(q, q) + 6 * product(q, of_gap) + 3 * product(of_gap, of_gap)
    both = (
        product(mean_squared, gap_squared)
        - 4 * r * product(q, common)
        + 2 * product(common, common)
    )
    squares = within + between * gap_squared
    q_q = mean_fourth
    q_s = (product(mean_squared, within) + between * both) / (total - 1)
    s_s = (
        within_squared + 2 * between * product(within, gap_squared) + between**2 * gap_fourth
    ) / (total - 1) ** 2
    next_q, next_s = product(one, mean_squared), product(one, squares) / (total - 1)
    return np.array([[1, next_q, next_s], [next_q, q_q, q_s], [next_s, q_s, s_s]])


def fresh_error(human: int, model: int, bias: float, generation: int) -> float:
    """Return the expected `fit_error` of the loop with fresh human text.

    Generation 0 learns from h + m human documents.

    >>> round(fresh_error(10, 10, 1.0, 0), 4) == round(one_fit_error(20), 4)
    True
    """
    moments = start_moments(human + model)
    for _ in range(generation):
        moments = fresh_moments(moments, human, model, bias)
    return float(moments[0, 1] + (moments[2, 2] - 2 * moments[0, 2] + 1) / 4)


def fit_error(mean: Floats, spread: Floats) -> Floats:
    """Return the distance of fits from the standard normal: mean^2 + (variance - 1)^2 / 4.

    [A] uses the squared Wasserstein distance, mean^2 + (standard deviation - 1)^2. This is the
    same to second order, and its expectation is known exactly.
    """
    return mean**2 + (spread - 1) ** 2 / 4


def one_fit_error(draws: float) -> float:
    """Return the expected `fit_error` of a fit on n human documents: 1/n + 1/(2 (n - 1))."""
    return 1 / draws + 1 / (2 * (draws - 1))


def effective_sample_size(error: float) -> float:
    """Return n_e, the number of human documents that alone give this error [A, section 5.3].

    >>> round(effective_sample_size(one_fit_error(20)), 6)
    20.0
    """
    b = error + 1.5
    return (b + math.sqrt(b**2 - 4 * error)) / (2 * error)


def start_forgotten(human: int, model: int, generation: int) -> float:
    """Return 1 minus the slope of the mean on that of generation 0: 1 - (m / (h + m))^t.

    The mean of each generation is m / (h + m) times the last mean, plus a part that does not depend
    on it. So the end does not depend on the start [A, section 5.2].

    >>> start_forgotten(20, 10, 2) == 1 - 1 / 9
    True
    """
    return 1 - (model / (human + model)) ** generation


# --- A3, A4: choices ------------------------------------------------------------------------


NUM_TEXTS = 20
"""Number of texts in the loops with a crowd: w0 to w19, with Zipf shares."""

REWARD: Floats = 1.5 * np.random.default_rng(7).normal(size=NUM_TEXTS)
"""How much the crowd likes each text."""


def reward(texts: Sequence[str]) -> list[float]:
    """Return the reward of each document's first word. It is a scorer.

    >>> reward(["w2 w1001"]) == [REWARD[2]]
    True
    """
    rewards: list[float] = REWARD[[int(text.split()[0][1:]) for text in texts]].tolist()
    return rewards


def best_of(shares: Floats, drafts: int) -> Floats:
    """Return p_K: the shares after one in K texts is chosen by Bradley and Terry's model.

    p_K(x) is K p(x) w(x) times the mean of 1 / (w(x) + w of K - 1 others), with w = e^reward
    [F, equation 2]. 1 / a is the integral of e^(-a t) over t > 0, so the mean factorises over the
    others. The integral is computed by Gauss and Legendre's rule with 600 nodes.
    """
    weights = np.exp(REWARD)
    x, step = _nodes()
    scale = 4 / (drafts * (shares * weights).sum())
    t, jacobian = scale * x / (1 - x), scale / (1 - x) ** 2
    decay = np.exp(-np.outer(t, weights))
    mean = (step * jacobian * (decay @ shares) ** (drafts - 1)) @ decay
    chosen: Floats = drafts * shares * weights * mean
    return chosen


@cache
def _nodes() -> tuple[Floats, Floats]:
    x, step = np.polynomial.legendre.leggauss(600)
    return (x + 1) / 2, step / 2


def tilted(shares: Floats) -> Floats:
    """Return the limit of p_K as K grows: p e^reward, normalised [F, theorem 2.1]."""
    weights = shares * np.exp(REWARD)
    limit: Floats = weights / weights.sum()
    return limit


def distance(one: Floats, other: Floats) -> float:
    """Return the total variation distance, in [0, 1].

    >>> round(distance(best_of(zipf(20), 16), tilted(zipf(20))), 2)
    0.05
    """
    return float(np.abs(one - other).sum() / 2)


def curated(human_share: float, drafts: int, generation: int) -> Floats:
    """Return the shares of the texts that a generation writes, as the number of documents grows.

    Each generation learns a share of human (Zipf) text and a rest that was chosen from the last
    generation's text.
    """
    human = shares = zipf(NUM_TEXTS)
    for _ in range(generation):
        shares = human_share * human + (1 - human_share) * best_of(shares, drafts)
    return shares


def mean_and_variance(shares: Floats) -> tuple[float, float]:
    """Return mean and variance of the reward.

    >>> mean_and_variance(np.eye(20)[7])[1]  # one text is left
    0.0
    """
    mean = float(shares @ REWARD)
    return mean, float(shares @ (REWARD - mean) ** 2)
