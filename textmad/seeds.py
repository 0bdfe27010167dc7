"""One seed, many named random streams: everything random in textmad comes from here."""

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
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


def torch_seed(seed: int, *names: str | int) -> int:
    """The same, as one number in [0, 2**63) for `torch.manual_seed`."""
    return _digest(seed, names) >> (256 - 63)


def _digest(seed: int, names: tuple[str | int, ...]) -> int:
    # repr keeps 1 and "1", and ("a", "b") and ("ab",), apart.
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest(), "big")
