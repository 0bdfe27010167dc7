"""Which types, of tokens or of words, are rare in human text."""

from __future__ import annotations

import numpy as np

# Bins of types by their share of human text: the rarest types that make up a tenth of its tokens,
# then up to a quarter, and so on. Fixed, so that "rare" means the same in every run.
BIN_EDGES = (0.10, 0.25, 0.50, 0.75)
BINS = ("rarest", "10-25%", "25-50%", "50-75%", "75-100%")


def frequency_bins(counts: np.ndarray) -> np.ndarray:
    """Return the bin (index into `BINS`) of each type, from its count in human text.

    Types are sorted by count, and a type's bin is where the share of tokens below it lies, so
    types that never occur are among the rarest, and the rarest hold at least a tenth of the mass.

    >>> frequency_bins(np.array([8, 1, 0, 1])).tolist()
    [1, 0, 0, 1]

    Raises:
        ValueError: human text has no tokens.
    """
    total = int(counts.sum())
    if total == 0:
        raise ValueError("human training pool: no tokens: expected at least one")
    order = np.argsort(counts, kind="stable")
    ordered = counts[order]
    below = (np.cumsum(ordered) - ordered) / total
    bins = np.empty(len(counts), np.int64)
    bins[order] = np.searchsorted(BIN_EDGES, below, side="right")
    return bins
