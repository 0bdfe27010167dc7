"""A6: a Gaussian with fresh human text in each generation. Sources: see the package."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def start_moments(draws: int) -> Floats:
    """Moments of a fit on so many human documents.

    With q the squared error of the mean and s the variance, E[x x'] of x = (1, q, s): `(3, 3)`.
    """
    n = draws
    return np.array([[1, 1 / n, 1], [1 / n, 3 / n**2, 1 / n], [1, 1 / n, (n + 1) / (n - 1)]])


def fresh_moments(moments: Floats, human: int, model: int, bias: float) -> Floats:
    """The same one generation later, of a fit on h fresh human documents and m of the model's.

    Given the model, the human part has mean H ~ N(0, 1/h) and the model's X ~ N(mean, lambda s/m);
    the sum of squares within them is A ~ chi^2 of h - 1 and B ~ lambda s chi^2 of m - 1, all four
    independent; between them it is (H - X)^2 hm/(h + m). So the next mean is (h H + m X)/(h + m),
    the next variance (A + B + (H - X)^2 hm/(h + m))/(h + m - 1), and as both means are normal,
    every product of two of (1, q, s) has an expectation that is again linear in such products:
    the moments close. Linear forms in (1, q, s) are vectors below, and f @ moments @ g is the
    expectation of a product.
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
    # Moments of normal numbers about r mean and -mean: 4th of each, 2nd by 2nd of both.
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
    """Expected `fit_error` of the fresh data loop; generation 0 learns from h + m human documents.

    >>> round(fresh_error(10, 10, 1.0, 0), 4) == round(one_fit_error(20), 4)
    True
    """
    moments = start_moments(human + model)
    for _ in range(generation):
        moments = fresh_moments(moments, human, model, bias)
    return float(moments[0, 1] + (moments[2, 2] - 2 * moments[0, 2] + 1) / 4)


def fit_error(mean: Floats, spread: Floats) -> Floats:
    """How far fits are from the standard normal: mean^2 + (variance - 1)^2 / 4.

    The squared Wasserstein distance of [A] to second order, mean^2 + (standard deviation - 1)^2,
    in place of which it is taken because its expectation is exact.
    """
    return mean**2 + (spread - 1) ** 2 / 4


def one_fit_error(draws: float) -> float:
    """Expected `fit_error` of a fit on human documents alone: 1/n + 1/(2 (n - 1))."""
    return 1 / draws + 1 / (2 * (draws - 1))


def effective_sample_size(error: float) -> float:
    """n_e: how many human documents alone give a fit of this error [A, section 5.3].

    >>> round(effective_sample_size(one_fit_error(20)), 6)
    20.0
    """
    b = error + 1.5
    return (b + math.sqrt(b**2 - 4 * error)) / (2 * error)


def start_forgotten(human: int, model: int, generation: int) -> float:
    """1 less the slope of the mean at a generation on that at generation 0: 1 - (m / (h + m))^t.

    Each generation's mean is m / (h + m) times the last one plus what does not depend on it; so
    where it ends does not depend on where it began [A, section 5.2].

    >>> start_forgotten(20, 10, 2) == 1 - 1 / 9
    True
    """
    return 1 - (model / (human + model)) ** generation
