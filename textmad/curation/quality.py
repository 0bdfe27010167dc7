"""Rules on a document's own words, after the quality rules of the Gopher corpus.

Source: Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher"
(2112.11446), appendix A.1.1, tables A1 and A2. Words are what white space separates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.curation.protocol import Context, Verdicts
from textmad.text.words import folded_pieces, length_in_words

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Length:
    """Keep documents of `min_words` to `max_words` words; the score is their number.

    The default bounds are those of the human text.
    """

    min_words: int = 8
    max_words: int = 120

    def __post_init__(self) -> None:
        if self.min_words < 0:
            raise ValueError(f"min_words: {self.min_words}: expected at least 0")
        if self.max_words < max(self.min_words, 1):
            raise ValueError(
                f"max_words: {self.max_words}: expected at least 1 and no less than "
                f"min_words: {self.min_words}"
            )

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        score = np.array(list(map(length_in_words, candidates["text"][:])), dtype=np.float64)
        reason = [
            f"{count:.0f} words, fewer than {self.min_words}"
            if count < self.min_words
            else f"{count:.0f} words, more than {self.max_words}"
            for count in score
        ]
        return Verdicts((score >= self.min_words) & (score <= self.max_words), score, reason)


@dataclass(frozen=True)
class Repetition:
    """Reject documents that repeat themselves; the score is the repeated share of the text.

    The defaults are Gopher's for 5-grams: at most 0.15 of the characters may lie in a word
    5-gram that stood in the document before.

    Attributes:
        ngram: words, at least 1.
        max_share: in [0, 1].
    """

    ngram: int = 5
    max_share: float = 0.15

    def __post_init__(self) -> None:
        if self.ngram < 1:
            raise ValueError(f"ngram: {self.ngram}: expected at least 1 word")
        if not 0 <= self.max_share <= 1:
            raise ValueError(f"max_share: {self.max_share:g}: expected a share from 0 to 1")

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        texts = candidates["text"][:]
        score = np.array([repeated_share(text, self.ngram) for text in texts], dtype=np.float64)
        reason = [f"{share:.2f} of it repeats earlier {self.ngram}-grams" for share in score]
        return Verdicts(score <= self.max_share, score, reason)


def repeated_share(text: str, ngram: int) -> float:
    """The share of a text's characters in word n-grams that occurred before in it, [0, 1].

    Letter case is ignored, and white space is left out. Characters in overlapping
    repeats count once, and the first occurrence does not count, as in Gopher's table A1.

    >>> round(repeated_share("I know. I know. I know.", 2), 3)  # the last four of six words
    0.667
    """
    words = folded_pieces(text)
    seen: set[tuple[str, ...]] = set()
    repeated = np.zeros(len(words), dtype=bool)
    for start in range(len(words) - ngram + 1):
        gram = tuple(words[start : start + ngram])
        if gram in seen:
            repeated[start : start + ngram] = True
        seen.add(gram)
    lengths = np.array([len(word) for word in words], dtype=np.float64)
    return float(lengths[repeated].sum() / lengths.sum()) if len(words) else 0.0
