"""How much of what a generation writes stands verbatim in what it learned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textmad.evaluators.lexical import FoundNgrams
from textmad.evaluators.protocol import Measurement, Snapshot, at_least
from textmad.evaluators.references import Rows, measure_compared
from textmad.text.documents import HUMAN, MODEL, as_table
from textmad.text.passages import Passages
from textmad.text.words import code_words

if TYPE_CHECKING:
    from datasets import Dataset

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Memorisation:
    """Measure the shares of n-grams and of whole documents that stand in the training set.

    In all of it, and (bins) in its human and in its model documents. Human text that no model has
    learned (split human) cannot be memorised: people repeat each other too, so its n-grams are the
    floor. No more words of a split are read than are compared.
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
        """Measure n-grams of each length, then documents."""
        learned = _Learned(snapshot.training)

        def measure(split: str, rows: Rows) -> list[Measurement]:
            passages = snapshot.passages(split)
            known = snapshot.once(
                ("memorised", self, passages), lambda: _Known(passages, learned, self.ngram_words)
            )
            return [
                *known.ngrams(rows, snapshot.num_words),
                *known.documents(rows[: snapshot.num_documents]),
            ]

        return measure_compared(snapshot, measure)


class _Learned:
    """The training set, and its parts by origin."""

    def __init__(self, training: Dataset) -> None:
        table = as_table(training)
        origin = np.array(table["origin"].to_pylist())
        self.texts: list[str] = table["text"].to_pylist()
        whole = pc.binary_join_element_wise(table["prompt"], table["text"], "")
        self.whole = _trimmed(whole)
        self.parts: dict[str, Bools] = {"": np.ones(len(origin), dtype=bool)}
        self.parts |= {name: origin == name for name in (HUMAN, MODEL)}


class _Known:
    """Which n-grams and which documents of some passages stand in the training set."""

    def __init__(self, passages: Passages, learned: _Learned, lengths: Sequence[int]) -> None:
        self._parts = learned.parts
        words = code_words([*passages.texts, *learned.texts])
        masks = list(learned.parts.values())
        self._ngrams = {n: FoundNgrams(words, len(passages), masks, n) for n in lengths}
        whole = map("".join, zip(passages.prompts, passages.texts, strict=True))
        own = _trimmed(pa.array(whole, pa.large_string()))
        self._is_known = {
            name: pc.is_in(own, value_set=learned.whole.filter(pa.array(part))).to_numpy(
                zero_copy_only=False
            )
            for name, part in learned.parts.items()
        }

    def ngrams(self, rows: Rows, num_words: int) -> Iterator[Measurement]:
        """Measure the n-grams in the first `num_words` words of the documents at `rows`."""
        for n, grams in self._ngrams.items():
            shares, num = grams.shares(rows, num_words)
            for (name, part), value in zip(self._parts.items(), shares, strict=True):
                note = _no_such_text(part, name) if num else f"no document of {n} words"
                bin_ = f"{n} words {name}".strip()
                yield Measurement("memorised_ngrams", value, bin=bin_, n=num, note=note)

    def documents(self, rows: Rows) -> Iterator[Measurement]:
        """Measure the documents at `rows`, prompts included."""
        for name, part in self._parts.items():
            note = _no_such_text(part, name) if len(rows) else "no documents"
            value = math.nan if note else float(np.mean(self._is_known[name][rows]))
            yield Measurement("memorised_documents", value, bin=name, n=len(rows), note=note)


def _trimmed(texts: Any) -> Any:
    """Return an Arrow array of texts without white space at their ends."""
    return pc.utf8_trim_whitespace(texts.cast(pa.large_string()))


def _no_such_text(part: Bools, name: str) -> str:
    return "" if part.any() else f"no {name or 'training'} text"
