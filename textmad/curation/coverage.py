"""Documents chosen as a set: each for what it adds to those chosen before it."""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.draws import Floats


class Bags(NamedTuple):
    """Which types documents hold, and how often: a row for each type of each document."""

    documents: npt.NDArray[np.int64]  # (rows,) which document, ascending
    types: npt.NDArray[np.int64]  # (rows,) ascending in each document
    counts: npt.NDArray[np.int64]  # (rows,) at least 1

    def only(self, wanted: npt.NDArray[np.bool_]) -> Bags:
        """Those rows whose type is wanted, given for each type."""
        chosen = wanted[self.types]
        return Bags(self.documents[chosen], self.types[chosen], self.counts[chosen])


class Cover(NamedTuple):
    """A set of documents, and what each was worth to it."""

    chosen: npt.NDArray[np.bool_]  # (documents,)
    gains: Floats  # (documents,) per cost: when chosen, or to the whole set where it was not


def greedy_cover(
    bags: Bags, ceilings: Floats, costs: npt.NDArray[np.int64], ties: Floats, num_chosen: int
) -> Cover:
    """Documents for which the types' counts, each up to its ceiling, sum to as much as they can.

    One after the other, the document is chosen that adds most per cost. What a document adds only
    shrinks as others are chosen (the sum is submodular), so for the documents chosen, of cost B
    together, the sum is at least 1 - 1/e = 0.63 of what any documents of cost B could reach
    (Nemhauser, Wolsey and Fisher, Math. Programming 14, 1978; per cost: Sviridenko, Oper. Res.
    Letters 32, 2004). For the same reason gains that were computed earlier are upper bounds, and
    most need not be computed again: the lazy greedy algorithm (Minoux, LNCIS 7, 1978).

    Args:
        bags: of the types that matter.
        ceilings: for each type, up to which count it matters.
        costs: of the documents, at least 1.
        ties: for each document; the lower one goes first where gains are equal.
        num_chosen: at most as many as there are documents.

    >>> bags = Bags(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), np.array([2, 1, 1, 1]))
    >>> greedy_cover(bags, np.ones(2), np.ones(3, int), np.arange(3.0), 2).chosen.tolist()
    [True, True, False]
    """
    room = ceilings.astype(np.float64)  # what is left of them
    starts = np.searchsorted(bags.documents, np.arange(len(costs) + 1)).tolist()
    held = [slice(start, stop) for start, stop in pairwise(starts)]

    def gain(row: int) -> float:
        types, counts = bags.types[held[row]], bags.counts[held[row]]
        return float(np.minimum(counts, room[types]).sum() / costs[row])

    gains = np.array([gain(row) for row in range(len(costs))], dtype=np.float64)
    queue = list(zip((-gains).tolist(), ties.tolist(), range(len(costs)), strict=True))
    heapq.heapify(queue)
    chosen = np.zeros(len(costs), dtype=bool)
    left = num_chosen
    while left:
        _, tie, row = heapq.heappop(queue)
        entry = (-gain(row), tie, row)
        if queue and entry > queue[0]:  # another may add more by now
            heapq.heappush(queue, entry)
            continue
        chosen[row], gains[row] = True, -entry[0]
        types, counts = bags.types[held[row]], bags.counts[held[row]]
        room[types] = np.maximum(room[types] - counts, 0)
        left -= 1
    for row in np.flatnonzero(~chosen).tolist():
        gains[row] = gain(row)
    return Cover(chosen, gains)
