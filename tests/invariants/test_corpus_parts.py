"""Intervals over seeds for new human text, where seeds share a pool and where they do not."""

from collections.abc import Callable

import numpy as np
import pytest

from textmad.corpus.split import held_out_mask, part_mask
from textmad.mixture import order_of_pool
from textmad.statistics.inference import mean_interval

NUM_SEEDS, NUM_DOCUMENTS, NUM_CORPORA, HELD_OUT = 5, 500, 400, 0.1


def shared(names: list[str], corpus: int) -> list[np.ndarray]:
    """The rows of each seed's training pool, where all seeds share one."""
    return [np.flatnonzero(~held_out_mask(names, HELD_OUT))] * NUM_SEEDS


def split_again(names: list[str], corpus: int) -> list[np.ndarray]:
    """The same, where each seed splits the documents anew at random."""
    rng, size = np.random.default_rng(corpus), round(len(names) * (1 - HELD_OUT))
    return [rng.permutation(len(names))[:size] for _ in range(NUM_SEEDS)]


def own_part(names: list[str], corpus: int) -> list[np.ndarray]:
    """The same, where each seed has a part of the documents (`corpus.parts`)."""
    is_pool = ~held_out_mask(names, HELD_OUT)
    return [np.flatnonzero(is_pool & part_mask(names, NUM_SEEDS, s)) for s in range(NUM_SEEDS)]


def coverage(pools_of: Callable[[list[str], int], list[np.ndarray]], share: float) -> float:
    """How many intervals over seeds hold the mean of new human text, 0.

    A document is one number, normal about 0: a Gaussian that is fitted by averaging. A seed learns
    a share of its pool, in the order in which a run takes it.
    """
    held = 0
    for corpus in range(NUM_CORPORA):
        values = np.random.default_rng(corpus).standard_normal(NUM_DOCUMENTS)
        pools = pools_of([f"{corpus}/{index}" for index in range(NUM_DOCUMENTS)], corpus)
        fits = []
        for seed, pool in enumerate(pools, start=NUM_SEEDS * corpus):
            order = order_of_pool(range(len(pool)), seed)
            fits.append(values[pool[order[: round(share * len(pool))]]].mean())
        interval = mean_interval(fits)
        held += interval.low <= 0 <= interval.high
    return held / NUM_CORPORA


@pytest.mark.parametrize("share", [0.02, 0.4, 0.8])
def test_seeds_with_a_part_of_their_own_cover_new_human_text(share):
    together, again, own = (coverage(each, share) for each in (shared, split_again, own_part))
    print(f"| {share:.0%} | {together:.0%} | {again:.0%} | {own:.0%} |".replace("%", " %"))
    # 4 standard errors of 400 replicates: 4 * sqrt(0.95 * 0.05 / 400) = 0.044.
    assert abs(own - 0.95) < 0.044
    if share >= 0.4:  # the theory of `pool_factor`: about 0.8 and 0.5 of five seeds
        assert together < 0.906
        assert again < 0.906  # pools that have most documents in common are no remedy
