"""How varied text is: drawn, kept and human, at the same number of words and of documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from textmad.evaluators import lexical
from textmad.evaluators.protocol import COMPARED, Measurement, Snapshot, at_least
from textmad.text.documents import HUMAN, MODEL
from textmad.text.words import Words, code_words, cut, ngrams, ngrams_up_to_4

NUM_WORDS_METRICS = (
    *("distinct_1", "distinct_2", "distinct_3", "distinct_4", "entropy_1", "entropy_2"),
    *("mattr", "mtld", "hdd", "compression_ratio", "zipf_exponent", "heaps_exponent"),
)
OVERLAP_BINS = ("", HUMAN, MODEL)  # the whole training text, and its parts by origin


def diversity(
    texts: Sequence[str],
    num_words: int | None = None,
    mattr_window: int = 50,
    num_documents: int | None = None,
) -> list[Measurement]:
    """All diversity metrics of one corpus, which need nothing beside it.

    Corpus-level ones on exactly the first `num_words` words (all where None), NaN where there
    are fewer; the share of repeated documents on the first `num_documents`.

    >>> {m.metric: m.value for m in diversity(["a b", "a c"])}["distinct_1"]
    0.75
    """
    counted = texts[:num_documents]
    coded = code_words(texts, num_words, len(counted))
    compared, words = (texts, coded) if num_words is None else cut(texts, coded, num_words)
    total = len(words.codes)
    if num_words is not None and total < num_words:
        found = [
            Measurement(name, math.nan, n=total, note=f"{total} words, {num_words} needed")
            for name in NUM_WORDS_METRICS
        ]
    else:
        found = [*_of_ngrams(words), *_of_words(words.codes, mattr_window)]
        found.append(_value("compression_ratio", lexical.compression_ratio(compared), total))
    found.append(_value("repeated_share", lexical.repeated_share(counted, coded), len(counted)))
    return found


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
    """Lexical diversity of drawn, kept and human text, and its overlap with the training text.

    N-grams of words never cross the border of a document, so text of shorter documents has
    slightly fewer of them in the same number of words; `n` says how many. `overlap` is the share
    of `overlap_words`-grams that stand verbatim in the training text, in all of it and (bins) in
    its human and its model documents; a human document is not held against itself.
    """

    mattr_window: int = 50
    overlap_words: int = 13

    def __post_init__(self) -> None:
        at_least("mattr_window", self.mattr_window, 2)
        at_least("overlap_words", self.overlap_words, 1)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Each metric for each split; NaN for a split that is missing or too short."""
        found: list[Measurement] = []
        for split in COMPARED:
            texts = snapshot.texts.get(split)
            if texts:
                measured = diversity(
                    texts, snapshot.num_words, self.mattr_window, snapshot.num_documents
                )
                measured += self._overlaps(snapshot, split, texts)
            else:
                measured = _missing(split)
            found += [replace(m, split=split) for m in measured]
        return found

    def _overlaps(self, snapshot: Snapshot, split: str, texts: Sequence[str]) -> list[Measurement]:
        compared, words = cut(texts, code_words(texts, snapshot.num_words), snapshot.num_words)
        num_grams = len(ngrams(words, self.overlap_words).ids)
        own = set(texts[: len(compared)]) if split == HUMAN else set()
        origins, training = snapshot.training["origin"][:], snapshot.training["text"][:]
        others = np.array([text not in own for text in training], dtype=bool)
        parts = [
            others if name == "" else others & (np.array(origins) == name) for name in OVERLAP_BINS
        ]
        values = lexical.overlaps(compared, training, parts, self.overlap_words)
        found = []
        for name, part, value in zip(OVERLAP_BINS, parts, values, strict=True):
            if num_grams == 0:
                note = f"no document of {self.overlap_words} words"
            else:
                note = "" if part.any() else f"no {name or 'training'} text"
            found.append(Measurement("overlap", value, bin=name, n=num_grams, note=note))
        return found


def _value(metric: str, value: float, n: int) -> Measurement:
    return Measurement(metric, value, n=n, note="too little text" if math.isnan(value) else "")


def _missing(split: str) -> list[Measurement]:
    note = f"too few {split} documents"
    found = [Measurement(name, math.nan, note=note) for name in NUM_WORDS_METRICS]
    found.append(Measurement("repeated_share", math.nan, note=note))
    found += [Measurement("overlap", math.nan, bin=name, note=note) for name in OVERLAP_BINS]
    return found
