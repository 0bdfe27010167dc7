"""One seed, many named random streams: everything random in textmad comes from here."""

import hashlib
from typing import SupportsIndex

import numpy as np


def stream(seed: SupportsIndex, *names: str | SupportsIndex) -> np.random.Generator:
    """The random stream that belongs to `names` under `seed`.

    Streams of different names are independent, and a stream does not depend on which others
    were opened before it. So a document drawn from `stream(seed, "sample", generation, index)`
    is the same in any batch and on any number of processes.

    >>> stream(0, "sample", 1, 7).random() == stream(0, "sample", 1, 7).random()
    True
    >>> stream(0, "sample", 1, 7).random() == stream(0, "sample", 1, 8).random()
    False
    """
    return np.random.Generator(np.random.PCG64(_digest(seed, names)))


def torch_seed(seed: SupportsIndex, *names: str | SupportsIndex) -> int:
    """The same, as one number in [0, 2**63) for `torch.manual_seed`."""
    return _digest(seed, names) >> (256 - 63)


def _digest(seed: SupportsIndex, names: tuple[str | SupportsIndex, ...]) -> int:
    # A number is the same number whether numpy counted it or Python.
    parts = tuple(int(part) if isinstance(part, np.integer) else part for part in (seed, *names))
    # repr keeps 1 and "1", and ("a", "b") and ("ab",), apart.
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest(), "big")
