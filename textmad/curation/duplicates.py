"""The filter `duplicates`: rejects copies of earlier documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.curation.protocol import Context, Verdicts
from textmad.text.near_duplicates import first_copies, jaccard, shingles

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Duplicates:
    """Keep the first of each group of copies; the score is the similarity to it, 0 if none.

    Attributes:
        threshold: Jaccard similarity of word pairs (`textmad.text.near_duplicates`) from which a
            document is a copy, above 0 and at most 1. null: only identical texts are copies.
    """

    threshold: float | None = 0.8

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(
                f"threshold: {self.threshold:g}: expected a similarity above 0 and at most 1, "
                "or null for exact copies alone"
            )

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        ids, texts = candidates["id"][:], candidates["text"][:]
        if self.threshold is None:
            index: dict[str, int] = {}
            first = [index.setdefault(text, i) for i, text in enumerate(texts)]
        else:
            first = first_copies(texts, self.threshold).tolist()
        keep = np.array([i == j for i, j in enumerate(first)], dtype=bool)
        score = np.zeros(len(texts))
        for i in np.flatnonzero(~keep):
            score[i] = jaccard(shingles(texts[i]), shingles(texts[first[i]]))
        return Verdicts(keep, score, [f"repeats {ids[j]}" for j in first])
