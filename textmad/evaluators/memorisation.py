"""How much of what a generation writes stands verbatim in what it learned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textmad.evaluators.held_out import reference_texts
from textmad.evaluators.lexical import share_found
from textmad.evaluators.protocol import Measurement, Snapshot, at_least
from textmad.text.documents import HUMAN, MODEL, as_table
from textmad.text.words import code_words, cut_texts, ngrams

Bools = npt.NDArray[np.bool_]

SPLITS = ("drawn", "kept", "held_out")


@dataclass(frozen=True)
class Memorisation:
    """Shares of n-grams and of whole documents that stand in the generation's training set.

    In all of it, and (bins) in its human and in its model documents. Beside drawn and kept text
    the same of held-out human text, which cannot be memorised: people repeat each other too, so
    its n-grams are the floor. No more words of a split are read than are compared.
    """

    ngram_words: tuple[int, ...] = (8, 13)

    def __post_init__(self) -> None:
        if not self.ngram_words:
            raise ValueError("ngram_words: expected at least one length")
        for index, n in enumerate(self.ngram_words):
            at_least("ngram_words", n, 1)
            if n in self.ngram_words[:index]:
                raise ValueError(f"ngram_words: {n}: is given twice; delete one")

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """N-grams of each length, then documents."""
        held_out = reference_texts(snapshot, snapshot.num_documents)
        texts = {**snapshot.texts, "held_out": held_out}
        asked = {name: texts.get(name, ()) for name in SPLITS}
        table = as_table(snapshot.training)
        origin = np.array(table["origin"].to_pylist())
        parts = {"": np.ones(len(origin), dtype=bool)}
        parts |= {name: origin == name for name in (HUMAN, MODEL)}
        cut = {name: cut_texts(some, snapshot.num_words) for name, some in asked.items()}
        whole = {name: some[: snapshot.num_documents] for name, some in asked.items()}
        learned = table["text"]
        return [
            *_of_ngrams(self.ngram_words, cut, learned.to_pylist(), parts),
            *_of_documents(whole, learned, parts),
        ]


def _of_ngrams(
    lengths: Sequence[int],
    asked: Mapping[str, Sequence[str]],
    learned: Sequence[str],
    parts: Mapping[str, Bools],
) -> Iterator[Measurement]:
    words = code_words([text for some in (*asked.values(), learned) for text in some])
    ends = np.cumsum([0, *map(len, asked.values())])
    places = np.arange(ends[-1] + len(learned))
    before = np.zeros(ends[-1], dtype=bool)
    within = [np.concatenate([before, part]) for part in parts.values()]
    for n in lengths:
        grams = ngrams(words, n)
        for split, (begin, end) in zip(asked, pairwise(ends), strict=True):
            own = (places >= begin) & (places < end)
            num = int(own[grams.documents].sum())
            for name, part in zip(parts, within, strict=True):
                note = f"no document of {n} words" if num == 0 else _no_such_text(part, name)
                note = note if asked[split] else f"too few {split} documents"
                value = share_found(grams, own, part)
                bin_ = f"{n} words {name}".strip()
                yield Measurement("memorised_ngrams", value, split, bin_, num, note)


def _of_documents(
    asked: Mapping[str, Sequence[str]], learned: pa.ChunkedArray, parts: Mapping[str, Bools]
) -> Iterator[Measurement]:
    trimmed = pc.utf8_trim_whitespace(learned.cast(pa.large_string()))
    for name, part in parts.items():
        known = trimmed.filter(pa.array(part))
        for split, texts in asked.items():
            note = _no_such_text(part, name) if len(texts) else f"too few {split} documents"
            own = pc.utf8_trim_whitespace(pa.array(texts, pa.large_string()))
            found = pc.is_in(own, value_set=known)
            value = math.nan if note else float(np.mean(found.to_numpy(zero_copy_only=False)))
            yield Measurement("memorised_documents", value, split, name, len(texts), note)


def _no_such_text(part: Bools, name: str) -> str:
    return "" if part.any() else f"no {name or 'training'} text"
