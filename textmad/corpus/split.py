"""The split into what may be trained on and what never is, and into parts for single seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

_SALT = "textmad held-out"  # for good: what is held out stays held out, under every seed
_SALT_OF_PARTS = "textmad part"  # another, so that every part has the same share held out


def held_out_mask(keys: Iterable[str], share: float) -> np.ndarray:
    """Which documents are held out, (n,) bool, by a hash of each one's key.

    The key is the conversation where there is one, else the text. So the answer for a document
    depends neither on its place nor on other documents, documents of one conversation stay on
    one side, and what is held out at a share is so at any larger one.

    >>> held_out_mask(["a", "b", "a"], share=1.0).tolist()
    [True, True, True]
    """
    return np.fromiter((_position(key, _SALT) < share for key in keys), dtype=bool)


def part_mask(keys: Iterable[str], num_parts: int, part: int) -> np.ndarray:
    """Return which documents are in a part of the corpus, (n,) bool, by a hash of each one's key.

    The parts are disjoint and about equally large, and each document is in one of them.

    >>> sum(part_mask(["a", "b", "c"], num_parts=2, part=part).sum() for part in range(2))
    3
    """
    positions = (_position(key, _SALT_OF_PARTS) for key in keys)
    return np.fromiter((int(place * num_parts) == part for place in positions), dtype=bool)


def _position(key: str, salt: str) -> float:
    """A place in [0, 1), the same for a key for ever."""
    digest = hashlib.sha256(f"{salt}/{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
