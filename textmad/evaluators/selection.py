"""Selection: how far what is kept differs from what was drawn, trait by trait."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import as_table
from textmad.text.words import length_in_words

if TYPE_CHECKING:
    from datasets import Dataset

_REWARD = "reward_"


class DocumentTrait(NamedTuple):
    """A trait of single documents: of every candidate, and of those that were kept."""

    name: str  # `length`, or `reward` and the scorer's name
    values: npt.NDArray[np.float64]
    kept: npt.NDArray[np.bool_]

    @property
    def differential(self) -> float:
        """Return S: the mean of what was kept less the mean of all; NaN where nothing was kept."""
        if not self.kept.any():
            return math.nan
        return float(self.values[self.kept].mean() - self.values.mean())


def document_traits(candidates: Dataset) -> Iterator[DocumentTrait]:
    """Yield the traits of a generation's candidates: length in words, and each scorer's value."""
    table = as_table(candidates)
    kept = np.array(table["kept"].to_pylist(), dtype=bool)
    texts = table["text"].to_pylist()
    yield DocumentTrait("length", np.array(list(map(length_in_words, texts)), float), kept)
    for title in table.column_names:
        if title.startswith(_REWARD):
            values = np.array(table[title].cast("double").to_numpy(), dtype=np.float64)
            seen = ~np.isnan(values)  # an earlier filter has rejected the others
            name = f"reward {title.removeprefix(_REWARD)}"
            yield DocumentTrait(name, values[seen], kept[seen])


@dataclass(frozen=True)
class Selection:
    """Measure the selection differential of each trait, and its intensity.

    The differential S is the mean of a trait over the kept documents less its mean over all
    candidates; the intensity is S by the standard deviation of the candidates (Falconer and
    Mackay, Introduction to Quantitative Genetics, chapter 11). A trait that has been selected
    varies less, so the same filter then selects less: S falls at equal intensity.
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
        return [m for trait in document_traits(snapshot.candidates) for m in _of_trait(trait)]


def _of_trait(trait: DocumentTrait) -> Iterator[Measurement]:
    s, num = trait.differential, int(trait.kept.sum())
    note = "" if num else "nothing was kept"
    yield Measurement("selection_differential", s, "drawn", trait.name, num, note)
    deviation = float(trait.values.std()) if len(trait.values) else 0.0
    why = note or ("" if deviation else "all documents are alike")
    intensity = math.nan if why else s / deviation
    yield Measurement("selection_intensity", intensity, "drawn", trait.name, num, why)
