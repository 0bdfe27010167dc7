"""64-bit hashes: of content ids, and sets that hold ten million in as many times eight bytes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


def hashes_of(ids: Iterable[str]) -> Hashes:
    """Return content ids as numbers, `(documents,)`.

    >>> hashes_of(["00000000000000ff", "0000000000000003"]).tolist()
    [255, 3]
    """
    return np.fromiter((int(name, 16) for name in ids), np.uint64)


def pair_hashes(first: Hashes, second: Hashes) -> Hashes:
    """Hash each pair of numbers; their order counts.

    >>> hashes = pair_hashes(np.array([1, 1, 2], np.uint64), np.array([2, 2, 1], np.uint64))
    >>> len(np.unique(hashes))
    2
    """
    return _mixed(first * _ODD[0] + _mixed(second))


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(32))) * _ODD[1]
    return values ^ (values >> np.uint64(29))


class HashSet:
    """Hashes seen so far, in 8 bytes each: a Python set of texts' ids takes ten times as much.

    They lie in sorted runs, each more than twice as long as the next, so a hash is looked up in
    a few runs and merged a few times over.

    >>> seen = HashSet()
    >>> seen.add(np.array([7, 3, 7], np.uint64)).tolist()
    [True, True, False]
    >>> seen.add(np.array([3, 4], np.uint64)).tolist(), len(seen)
    ([False, True], 3)
    """

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Take in `hashes`; which of them are new, counting equal ones among them once."""
        own, first = np.unique(hashes, return_index=True)
        known = np.zeros(len(own), dtype=bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, own), len(run) - 1)
            known |= run[at] == own
        is_new = np.zeros(len(hashes), dtype=bool)
        is_new[first[~known]] = True
        if not known.all():
            self._runs.append(own[~known])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last = self._runs.pop()
            merged = np.concatenate([self._runs.pop(), last])
            merged.sort(kind="stable")  # finds the two runs and merges them
            self._runs.append(merged)
        return is_new
