"""The split into what may be trained on and what never is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

_SALT = "textmad held-out"  # for good: what is held out stays held out, under every seed


def held_out_mask(keys: Iterable[str], share: float) -> np.ndarray:
    """Which documents are held out, (n,) bool, by a hash of each one's key.

    The key is the conversation where there is one, else the text. So the answer for a document
    depends neither on its place nor on other documents, documents of one conversation stay on
    one side, and what is held out at a share is so at any larger one.

    >>> held_out_mask(["a", "b", "a"], share=1.0).tolist()
    [True, True, True]
    """
    return np.fromiter((_position(key) < share for key in keys), dtype=bool)


def _position(key: str) -> float:
    """A place in [0, 1), the same for a key for ever."""
    digest = hashlib.sha256(f"{_SALT}/{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
