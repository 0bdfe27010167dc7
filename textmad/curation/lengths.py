"""Length, which explains much of most votes, taken out of what is scored or voted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def log_words(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """log(1 + words) of each text, `(texts,)`."""
    lengths: npt.NDArray[np.float64] = np.log1p([len(text.split()) for text in texts])
    return lengths


def length_regressed_out(values: Sequence[float], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """What is left of `values` once log(1 + words) has explained what it can (least squares).

    What a crowd likes beyond long, or short, texts: length alone explains much of most votes.

    >>> length_regressed_out([1.0, 3.0, 10.0, 20.0], ["a", "b", "a b", "b c"]).round(9).tolist()
    [-1.0, 1.0, -5.0, 5.0]
    """
    length = log_words(texts)
    score = np.asarray(values, dtype=np.float64)
    if not len(score):
        return score
    length, score = length - length.mean(), score - score.mean()
    spread = float(length @ length)
    slope = float(length @ score) / spread if spread else 0.0
    residual: npt.NDArray[np.float64] = score - slope * length
    return residual
