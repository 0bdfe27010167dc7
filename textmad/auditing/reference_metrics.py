"""The metrics of an audit, defined by one half of the human reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textmad.detection import Known, Models, auc, human_likeness
from textmad.errors import CurationError
from textmad.evaluators.diversity import diversity
from textmad.evaluators.ngram_gap import gaps_within
from textmad.evaluators.protocol import Measurement
from textmad.evaluators.rare_tokens import rare_tokens
from textmad.evaluators.self_bleu import self_bleu
from textmad.text.hashes import Hashes, pair_hashes
from textmad.text.near_duplicates import NearCopies, first_copies
from textmad.text.passages import Passages
from textmad.text.words import Vocabulary, Words, code_words, type_counts

NEAR = 0.8  # Jaccard similarity of word pairs, as recipes have it
OVERLAP_WORDS = (8, 13)
SELF_BLEU_DOCUMENTS = 1000
DETECTOR_DOCUMENTS = 2000


class ReferenceMetrics:
    """Measures texts by human ones, which define what is rare, common and copied.

    Args:
        human: one half of the reference, in a random order.
        detector: train a classifier on each text as well.
    """

    def __init__(self, human: Sequence[str], *, detector: bool = False) -> None:
        self._human, self._detector = list(human), detector
        self._vocabulary = Vocabulary()
        self._counts = type_counts(self._human, self._vocabulary)
        self._words = code_words(self._human, vocabulary=self._vocabulary)
        self._grams = {n: np.unique(_gram_hashes(self._words, n)) for n in OVERLAP_WORDS}
        self._known = {text.strip() for text in self._human}
        self._copies = NearCopies(self._human, NEAR)

    @property
    def num_words(self) -> int:
        """Return the number of words of the human text, the most that can be compared."""
        return len(self._words.codes)

    def measure(self, texts: Sequence[str], num_words: int) -> list[Measurement]:
        """Return all metrics: by document of all `texts`, by word of their first `num_words`.

        Args:
            texts: at least one.
            num_words: no more than `texts` hold, nor than the human ones do.
        """
        words, num = code_words(texts, vocabulary=self._vocabulary), len(texts)
        cut = _first(words, num_words)
        measured = [
            Measurement("document_words", len(words.codes) / num, n=num),
            *diversity(texts, num_words, num_documents=num),
            Measurement("near_repeated_share", _near_repeated(texts), n=num),
            *self_bleu(texts[:SELF_BLEU_DOCUMENTS]),
            *rare_tokens(cut.codes, self._counts),
            *gaps_within(_joined(cut, _first(self._words, num_words), num), num),
            *(self._overlap(cut, n) for n in OVERLAP_WORDS),
            Measurement(
                "copied_documents", sum(t.strip() in self._known for t in texts) / num, n=num
            ),
            Measurement("near_copied_documents", self._copies.among(texts).sum() / num, n=num),
        ]
        return [*measured, self._detected(texts)] if self._detector else measured

    def _overlap(self, own: Words, n: int) -> Measurement:
        grams, known = _gram_hashes(own, n), self._grams[n]
        if not len(grams):
            note = f"no document of {n} words"
            return Measurement("overlap", math.nan, bin=f"{n} words", note=note)
        at = np.searchsorted(known, grams)
        is_known = (at < len(known)) & (np.append(known, 0)[at] == grams)
        return Measurement("overlap", is_known.mean(), bin=f"{n} words", n=len(grams))

    def _detected(self, texts: Sequence[str]) -> Measurement:
        """How well a classifier tells the texts from as many of the human ones; see `detection`."""
        num = min(len(texts), len(self._human), DETECTOR_DOCUMENTS)
        human, other = self._human[:num], list(texts[:num])
        try:
            both = human_likeness(
                "trained", Passages.whole([*human, *other]), _NO_MODELS, Known(human, other)
            )
        except CurationError:
            return Measurement("detection_auc", math.nan, n=2 * num, note="too few texts")
        return Measurement("detection_auc", auc(both[:num], both[num:]), n=2 * num)


class Sizes(NamedTuple):
    """How many documents, and how many of their words, are compared."""

    documents: int
    words: int


def _first(words: Words, num_words: int) -> Words:
    return Words(words.codes[:num_words], words.documents[:num_words])


def _gram_hashes(words: Words, n: int) -> Hashes:
    """64-bit hashes of all n-grams within documents: of a million, none meets another by chance."""
    codes = words.codes.astype(np.uint64)
    num = max(len(codes) - n + 1, 0)
    hashes = codes[:num]
    for offset in range(1, n):
        hashes = pair_hashes(hashes, codes[offset : offset + num])
    inside = words.documents[:num] == words.documents[n - 1 :]
    return np.compress(inside, hashes)


def _joined(own: Words, human: Words, num_documents: int) -> Words:
    """Two corpora as one, the first of `num_documents`, with numbers below how many words it has.

    Those of a vocabulary may be above, as it knows the words of all texts that were measured.
    """
    import pandas as pd

    codes = np.concatenate([own.codes, human.codes])
    documents = np.concatenate([own.documents, human.documents + num_documents])
    return Words(pd.factorize(codes)[0], documents)


def _near_repeated(texts: Sequence[str]) -> float:
    return float(np.mean(first_copies(texts, NEAR) != np.arange(len(texts))))


def _unasked(texts: Sequence[str]) -> list[np.ndarray]:
    raise AssertionError("the trained detector asks no model")


_NO_MODELS = Models(_unasked, _unasked, _unasked)  # type: ignore[arg-type]
