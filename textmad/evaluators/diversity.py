"""How varied text is: drawn, kept and human, at the same number of words and of documents.

The formulas, such as distinct-n, are in `textmad.evaluators.lexical`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from textmad.evaluators import lexical
from textmad.evaluators.protocol import Measurement, Snapshot, at_least
from textmad.evaluators.references import Rows, measure_compared, split_words
from textmad.text.documents import HUMAN, MODEL, as_table
from textmad.text.words import Words, code_words, cut_texts, ngrams_up_to_4, take_words

NUM_WORDS_METRICS = (
    *("distinct_1", "distinct_2", "distinct_3", "distinct_4", "entropy_1", "entropy_2"),
    *("mattr", "mtld", "hdd", "compression_ratio", "zipf_exponent", "heaps_exponent"),
)
OVERLAP_BINS = ("", HUMAN, MODEL)  # the whole training set, and its parts by origin


def diversity(
    texts: Sequence[str],
    num_words: int | None = None,
    mattr_window: int = 50,
    num_documents: int | None = None,
) -> list[Measurement]:
    """Measure the diversity of one corpus, by the metrics that need no reference.

    Corpus-level ones on exactly the first `num_words` words (all where None), NaN where there
    are fewer; the share of repeated documents on the first `num_documents`.

    >>> {m.metric: m.value for m in diversity(["a b", "a c"])}["distinct_1"]
    0.75
    """
    rows = np.arange(len(texts))
    words = code_words(texts, num_words, len(texts[:num_documents]))
    return diversity_of(texts, words, rows, num_words, mattr_window, num_documents)


def diversity_of(
    texts: Sequence[str],
    words: Words,
    rows: Rows,
    num_words: int | None = None,
    mattr_window: int = 50,
    num_documents: int | None = None,
) -> list[Measurement]:
    """Measure the same of the documents at `rows`, in that order; `words` are the texts'."""
    own = take_words(words, rows, num_words)
    total = len(own.codes)
    if num_words is not None and total < num_words:
        measured = [
            Measurement(name, math.nan, n=total, note=f"{total} words, {num_words} needed")
            for name in NUM_WORDS_METRICS
        ]
    else:
        measured = [*_of_ngrams(own), *_of_words(own.codes, mattr_window)]
        ratio = lexical.compression_ratio(_cut(texts, own, rows, num_words))
        measured.append(_value("compression_ratio", ratio, total))
    counted = rows[:num_documents]
    share = lexical.repeated_share(
        [texts[row] for row in counted], take_words(words, counted, densely=False)
    )
    return [*measured, _value("repeated_share", share, len(counted))]


def _cut(texts: Sequence[str], own: Words, rows: Rows, num_words: int | None) -> list[str]:
    """Return the texts at `rows` that hold the words `own`, the last one cut behind them."""
    if num_words is None:
        return [texts[row] for row in rows]
    used = int(own.documents.max(initial=-1)) + 1
    chosen = [texts[row] for row in rows[:used]]
    num_in_last = int(np.count_nonzero(own.documents == used - 1))
    return [*chosen[:-1], *cut_texts(chosen[-1:], num_in_last)]


def _of_ngrams(words: Words) -> list[Measurement]:
    shares, entropies = [], []
    for n, (ids, _) in ngrams_up_to_4(words):
        shares.append(_value(f"distinct_{n}", lexical.distinct(ids), len(ids)))
        if n <= 2:
            entropies.append(_value(f"entropy_{n}", lexical.entropy_bits(ids), len(ids)))
    return [*shares, *entropies]


def _of_words(codes: np.ndarray, mattr_window: int) -> list[Measurement]:
    last = lexical.previous(codes)
    values = {
        "mattr": lexical.mattr(codes, mattr_window, last),
        "mtld": lexical.mtld(codes, last=last),
        "hdd": lexical.hdd(codes),
        "zipf_exponent": lexical.zipf_exponent(codes),
        "heaps_exponent": lexical.heaps_exponent(codes, last),
    }
    return [_value(name, value, len(codes)) for name, value in values.items()]


@dataclass(frozen=True)
class Diversity:
    """Measure lexical diversity of every compared split, and its overlap with the training set.

    N-grams of words never cross the border of a document, so text of shorter documents has
    slightly fewer of them in the same number of words; `n` says how many. `overlap` is the share
    of `overlap_words`-grams that stand verbatim in the training set, in all of it and (bins) in
    its human and its model documents.
    """

    mattr_window: int = 50
    overlap_words: int = 13

    def __post_init__(self) -> None:
        at_least("mattr_window", self.mattr_window, 2)
        at_least("overlap_words", self.overlap_words, 1)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure each metric for each split; NaN for a split that is missing or too short."""
        training = as_table(snapshot.training)
        learned, origin = training["text"].to_pylist(), np.array(training["origin"].to_pylist())
        parts = [(origin == name) | (name == "") for name in OVERLAP_BINS]

        def measure(split: str, rows: Rows) -> list[Measurement]:
            return diversity_of(
                snapshot.texts.get(split, ()),
                split_words(snapshot, split),
                rows,
                snapshot.num_words,
                self.mattr_window,
                snapshot.num_documents,
            )

        def find(split: str, rows: Rows) -> list[Measurement]:
            texts = tuple(snapshot.texts.get(split, ()))
            grams = snapshot.once(
                ("overlap", self.overlap_words, texts),
                lambda: lexical.FoundNgrams(
                    code_words([*texts, *learned]), len(texts), parts, self.overlap_words
                ),
            )
            return list(self._overlaps(grams, rows, snapshot.num_words, parts))

        return [
            *measure_compared(snapshot, measure, fixed=self),
            *measure_compared(snapshot, find),
        ]

    def _overlaps(
        self,
        grams: lexical.FoundNgrams,
        rows: Rows,
        num_words: int,
        parts: Sequence[np.ndarray],
    ) -> Iterator[Measurement]:
        shares, num = grams.shares(rows, num_words)
        for name, part, value in zip(OVERLAP_BINS, parts, shares, strict=True):
            note = "" if part.any() else f"no {name or 'training'} text"
            note = note if num else f"no document of {self.overlap_words} words"
            yield Measurement("overlap", value, bin=name, n=num, note=note)


def _value(metric: str, value: float, n: int) -> Measurement:
    return Measurement(metric, value, n=n, note="too little text" if math.isnan(value) else "")
