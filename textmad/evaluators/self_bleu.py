"""Self-BLEU: how far each document of a text is made of the others' n-grams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textmad.evaluators.protocol import Measurement, Snapshot, at_least
from textmad.evaluators.references import Rows, measure_compared, split_words
from textmad.text.words import Ngrams, Words, code_words, ngrams_up_to_4, take_words

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ORDERS = (2, 3, 4)
_NO_MATCH = 0.1  # what an order without a match counts


def self_bleu(texts: Sequence[str]) -> list[Measurement]:
    """Measure the mean BLEU of each document with all others as its references.

    Zhu et al. (Texygen, 1802.01886), in [0, 1]: at 0 documents share no word, at 1 each is made
    of what another one says. BLEU is that of Papineni et al. (2002) with equal weights and the
    smoothing that Texygen takes from nltk (`method1`). NaN with fewer than two documents.

    >>> [round(m.value, 9) for m in self_bleu(["a b c d", "a b c d"])]
    [1.0, 1.0, 1.0]
    """
    return self_bleu_of(code_words(texts), len(texts))


def self_bleu_of(words: Words, num: int) -> list[Measurement]:
    """Measure the same of the words of `num` documents."""
    if num < 2:
        note = "fewer than two documents"
        return [Measurement(f"self_bleu_{n}", math.nan, n=num, note=note) for n in ORDERS]
    log_penalty = _log_brevity(np.bincount(words.documents, minlength=num))
    measured, sums, shared = [], np.zeros(num), np.ones(num, dtype=bool)
    for n, grams in ngrams_up_to_4(words):
        matches = _matches(grams, num)
        if n == 1:
            shared = matches > 0  # without a word in common BLEU is 0
        totals = np.bincount(grams.documents, minlength=num)
        sums += np.log(np.where(matches > 0, matches, _NO_MATCH) / np.maximum(totals, 1))
        if n in ORDERS:
            bleu = np.where(shared, np.exp(sums / n + log_penalty), 0.0)
            measured.append(Measurement(f"self_bleu_{n}", float(bleu.mean()), n=num))
    return measured


def _matches(grams: Ngrams, num_documents: int) -> Ints:
    """Count the n-grams of each document that some other has as often, `(documents,)`."""
    if not len(grams.ids):
        return np.zeros(num_documents, np.int64)
    _, ids = np.unique(grams.ids, return_inverse=True)
    # Sorted by n-gram, so that those who have one stand together.
    pairs, counts = np.unique(ids * num_documents + grams.documents, return_counts=True)
    gram, document = np.divmod(pairs, num_documents)
    first = np.flatnonzero(np.diff(gram, prepend=-1))
    most = np.maximum.reduceat(counts, first)[gram]
    has_most = counts == most
    second = np.maximum.reduceat(np.where(has_most, 0, counts), first)[gram]
    alone = has_most & (np.bincount(gram, has_most)[gram] == 1)
    elsewhere = np.where(alone, second, most)
    matched = np.bincount(document, np.minimum(counts, elsewhere), minlength=num_documents)
    return matched.astype(np.int64)


def _log_brevity(lengths: Ints) -> Floats:
    """Compute the logarithm of each document's brevity penalty, `(documents,)`, at most 0.

    Its reference is the other document whose length is nearest, of two the shorter.
    """
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order].astype(float)
    # Sorted, the nearest stand next to it; a longer reference is the only one that costs.
    shorter = ranked - np.concatenate([[-np.inf], ranked[:-1]])
    longer = np.concatenate([ranked[1:], [np.inf]]) - ranked
    excess = np.where(longer < shorter, longer, 0.0)
    penalty = np.zeros(len(lengths))
    penalty[order] = -excess / np.maximum(ranked, 1.0)
    return penalty


@dataclass(frozen=True)
class SelfBleu:
    """Measure self-BLEU of every compared split, on at most `documents` documents of each.

    It rises with the number of documents, so values are comparable at equally many alone. The
    documents are in a random order that the run's seed fixes, so the first are a sample.
    """

    documents: int = 1000

    def __post_init__(self) -> None:
        at_least("documents", self.documents, 2)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the three orders of each split."""
        num = min(self.documents, snapshot.num_documents)

        def measure(split: str, rows: Rows) -> list[Measurement]:
            words = take_words(split_words(snapshot, split), rows[:num])
            return self_bleu_of(words, len(rows[:num]))

        return measure_compared(snapshot, measure, num_documents=num, fixed=self)
