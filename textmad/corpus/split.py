"""The split of human text into the training pool and held-out text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

_SALT = "textmad held-out"  # never changes: held-out text stays held out under every seed


def held_out_mask(keys: Iterable[str], share: float) -> np.ndarray:
    """Decide by a hash of each document's key whether it is held out, and return (n,) bool.

    The key is the conversation if there is one, otherwise the text. So the answer depends neither
    on the document's position nor on other documents, and documents of one conversation are on the
    same side. What is held out at a share is also held out at any larger share.

    >>> held_out_mask(["a", "b", "a"], share=1.0).tolist()
    [True, True, True]
    """
    return np.fromiter((_position(key) < share for key in keys), dtype=bool)


def _position(key: str) -> float:
    """Return a number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256(f"{_SALT}/{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
