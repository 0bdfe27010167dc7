"""A3, A4: a crowd that chooses one in K of 20 texts. Sources: see the package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from textmad.calibration.theory.refits import zipf

Floats = npt.NDArray[np.float64]

NUM_TEXTS = 20
"""Texts of the curated loops: w0 to w19, of Zipf shares."""

REWARD: Floats = 1.5 * np.random.default_rng(7).normal(size=NUM_TEXTS)
"""What the crowd finds in each."""


def reward(texts: Sequence[str]) -> list[float]:
    """A scorer: the reward of a document's first word.

    >>> reward(["w2 w1001"]) == [REWARD[2]]
    True
    """
    rewards: list[float] = REWARD[[int(text.split()[0][1:]) for text in texts]].tolist()
    return rewards


def best_of(shares: Floats, drafts: int) -> Floats:
    """p_K, what a choice of one in K by Bradley and Terry makes of p [F, equation 2], exactly.

    K p(x) w(x) times the mean of 1 / (w(x) + w of K - 1 others), with w = e^reward. 1 / a is the
    integral of e^(-a t) over t > 0, so the mean factorises in the others; the integral is taken by
    600 nodes of Gauss and Legendre.
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
    """Where p_K goes as K grows: p e^reward, normalised [F, theorem 2.1]."""
    weights = shares * np.exp(REWARD)
    limit: Floats = weights / weights.sum()
    return limit


def distance(one: Floats, other: Floats) -> float:
    """Total variation, in [0, 1].

    >>> round(distance(best_of(zipf(20), 16), tilted(zipf(20))), 2)
    0.05
    """
    return float(np.abs(one - other).sum() / 2)


def curated(human_share: float, drafts: int, generation: int) -> Floats:
    """What the model of a generation writes, as the number of documents grows.

    It learns from `human_share` of Zipf text and the rest of what was chosen from the last one's.
    """
    human = shares = zipf(NUM_TEXTS)
    for _ in range(generation):
        shares = human_share * human + (1 - human_share) * best_of(shares, drafts)
    return shares


def mean_and_variance(shares: Floats) -> tuple[float, float]:
    """Of the reward.

    >>> mean_and_variance(np.eye(20)[7])[1]  # one text is left
    0.0
    """
    mean = float(shares @ REWARD)
    return mean, float(shares @ (REWARD - mean) ** 2)
