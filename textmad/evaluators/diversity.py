"""How varied text is: drawn, kept and human, at the same number of words and of documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from textmad.documents import HUMAN, MODEL
from textmad.evaluators import lexical
from textmad.evaluators.protocol import COMPARED, Measurement, Snapshot, at_least
from textmad.evaluators.words import code_words, cut_texts, ngrams

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
    cut = list(texts) if num_words is None else cut_texts(texts, num_words)
    words = code_words(cut)
    total = len(words.codes)
    if num_words is not None and total < num_words:
        found = [
            Measurement(name, math.nan, n=total, note=f"{total} words, {num_words} needed")
            for name in NUM_WORDS_METRICS
        ]
    else:
        grams = {n: ngrams(words, n).ids for n in (1, 2, 3, 4)}
        found = [
            *(_value(f"distinct_{n}", lexical.distinct(grams[n]), len(grams[n])) for n in grams),
            *(
                _value(f"entropy_{n}", lexical.entropy_bits(grams[n]), len(grams[n]))
                for n in (1, 2)
            ),
            _value("mattr", lexical.mattr(words.codes, mattr_window), total),
            _value("mtld", lexical.mtld(words.codes), total),
            _value("hdd", lexical.hdd(words.codes), total),
            _value("compression_ratio", lexical.compression_ratio(cut), total),
            _value("zipf_exponent", lexical.zipf_exponent(words.codes), total),
            _value("heaps_exponent", lexical.heaps_exponent(words.codes), total),
        ]
    counted = texts[:num_documents]
    return [*found, _value("repeated_share", lexical.repeated_share(counted), len(counted))]


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
        origins = list(snapshot.training["origin"])
        cut = cut_texts(texts, snapshot.num_words)
        own = set(texts[: len(cut)]) if split == HUMAN else set()
        training = [
            (origin, text)
            for origin, text in zip(origins, snapshot.training["text"], strict=True)
            if text not in own
        ]
        num_grams = len(ngrams(code_words(cut), self.overlap_words).ids)
        found = []
        for bin_name in OVERLAP_BINS:
            reference = [text for origin, text in training if bin_name in ("", origin)]
            value = lexical.overlap(cut, reference, self.overlap_words)
            if num_grams == 0:
                note = f"no document of {self.overlap_words} words"
            else:
                note = "" if reference else f"no {bin_name or 'training'} text"
            found.append(Measurement("overlap", value, bin=bin_name, n=num_grams, note=note))
        return found


def _value(metric: str, value: float, n: int) -> Measurement:
    return Measurement(metric, value, n=n, note="too little text" if math.isnan(value) else "")


def _missing(split: str) -> list[Measurement]:
    note = f"too few {split} documents"
    found = [Measurement(name, math.nan, note=note) for name in NUM_WORDS_METRICS]
    found.append(Measurement("repeated_share", math.nan, note=note))
    found += [Measurement("overlap", math.nan, bin=name, note=note) for name in OVERLAP_BINS]
    return found
