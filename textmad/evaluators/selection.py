"""Selection: how far what is kept differs from what was drawn, trait by trait."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import as_table, digest_of_ids, texts_of
from textmad.text.rarity import frequency_bins
from textmad.text.words import Vocabulary, code_words, length_in_words, type_counts

if TYPE_CHECKING:
    from datasets import Dataset

Floats = npt.NDArray[np.float64]

_REWARD = "reward_"


class DocumentTrait(NamedTuple):
    """A trait of single documents: of every candidate, and of those that were kept."""

    name: str  # `length`, `rare words`, or `reward` and the scorer's name
    values: npt.NDArray[np.float64]
    kept: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]  # of each document in a mean

    @property
    def drawn_mean(self) -> float:
        """Return the mean of all documents; NaN where they have no weight."""
        return _mean(self.values, self.weights)

    @property
    def kept_mean(self) -> float:
        """Return the mean of what was kept; NaN where nothing of weight was."""
        return _mean(self.values[self.kept], self.weights[self.kept])

    @property
    def differential(self) -> float:
        """Return S: the mean of what was kept less the mean of all; NaN where nothing was kept."""
        return self.kept_mean - self.drawn_mean

    @property
    def kept_error(self) -> float:
        """Return the standard error of the mean of what was kept.

        With weights it is that of a ratio of two means (Cochran, Sampling Techniques, 1977,
        chapter 6).
        """
        values, weights = self.values[self.kept], self.weights[self.kept]
        total = float(weights.sum())
        if not total:
            return math.nan
        away = weights * (values - _mean(values, weights))
        return math.sqrt(float(away @ away)) / total


class RareWords:
    """Says which words are rare in human text: the rarest types that make up a tenth of it.

    A word that is not there at all is rare too, as in the metric `rare_rate`, which counts tokens.

    Args:
        texts: of the human training pool.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._vocabulary = Vocabulary()
        counts = type_counts(texts, self._vocabulary)
        self.has_words = bool(counts.any())
        self._common = frequency_bins(counts) > 0 if self.has_words else np.zeros(0, bool)

    def shares(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return the share of rare words in each text, and its number of words.

        >>> RareWords(["a a a a a a a a b c"]).shares(["a b", "x a a a"])
        (array([0.5 , 0.25]), array([2., 4.]))
        """
        words = code_words(texts, vocabulary=self._vocabulary)
        is_common = np.pad(self._common, (0, self._vocabulary.num_types - len(self._common)))
        num = np.bincount(words.documents, minlength=len(texts)).astype(float)
        rare = np.bincount(words.documents, ~is_common[words.codes], len(texts))
        return rare / np.maximum(num, 1), num


def document_traits(candidates: Dataset, rare: RareWords) -> Iterator[DocumentTrait]:
    """Yield the traits of a generation's candidates.

    Length in words, the share of rare words (each document weighs as its words), and each
    scorer's value.
    """
    table = as_table(candidates)
    kept = np.array(table["kept"].to_pylist(), dtype=bool)
    texts = table["text"].to_pylist()
    alike = np.ones(len(texts))
    yield DocumentTrait("length", np.array(list(map(length_in_words, texts)), float), kept, alike)
    if rare.has_words:
        shares, num_words = rare.shares(texts)
        yield DocumentTrait("rare words", shares, kept, num_words)
    for title in table.column_names:
        if title.startswith(_REWARD):
            values = np.array(table[title].cast("double").to_numpy(), dtype=np.float64)
            seen = ~np.isnan(values)  # an earlier filter has rejected the others
            name = f"reward {title.removeprefix(_REWARD)}"
            yield DocumentTrait(name, values[seen], kept[seen], alike[seen])


@dataclass(frozen=True)
class Selection:
    """Measure the selection differential of each trait, and its intensity.

    Traits are the length in words, the share of words that are rare in the human training pool,
    and each scorer's value. The differential S is the mean of a trait over the kept documents less
    its mean over all candidates; the intensity is S by the standard deviation of the candidates
    (Falconer and Mackay, Introduction to Quantitative Genetics, chapter 11). A trait that has been
    selected varies less, so the same filter then selects less: S falls at equal intensity.
    `textmad.forecast` extrapolates from S.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the candidates."""
        if not len(snapshot.candidates):
            note = "no candidates"
            return [
                Measurement(f"selection_{name}", math.nan, "drawn", "length", note=note)
                for name in ("differential", "intensity")
            ]
        rare = _rare_words(snapshot)
        return [m for each in document_traits(snapshot.candidates, rare) for m in _of_trait(each)]


def _rare_words(snapshot: Snapshot) -> RareWords:
    """Return which words are rare in the human training pool, counted once a run."""
    human = snapshot.human
    return snapshot.once_a_run(
        ("rare_words", digest_of_ids(human)), lambda: RareWords(texts_of(human))
    )


def _of_trait(trait: DocumentTrait) -> Iterator[Measurement]:
    s, num = trait.differential, int(trait.kept.sum())
    note = "" if num else "nothing was kept"
    note = note or ("kept documents have no words" if math.isnan(s) else "")
    yield Measurement("selection_differential", s, "drawn", trait.name, num, note)
    deviation = _deviation(trait.values, trait.weights)
    why = note or ("" if deviation else "all documents are alike")
    intensity = math.nan if why else s / deviation
    yield Measurement("selection_intensity", intensity, "drawn", trait.name, num, why)


def _mean(values: Floats, weights: Floats) -> float:
    total = weights.sum()
    return float(np.average(values, weights=weights)) if total else math.nan


def _deviation(values: Floats, weights: Floats) -> float:
    """Return the standard deviation of documents, each with its weight; 0 where there are none."""
    if not weights.sum():
        return 0.0
    away = values - _mean(values, weights)
    return math.sqrt(float(np.average(away**2, weights=weights)))
