"""One metric over the generations, and the references it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from textmad.evaluators.metrics import depends_on_documents

if TYPE_CHECKING:
    import pandas as pd


# Splits that are references and no text of a generation: human text, and the base model's own
# samples.
REFERENCES = ("human", "base")
Side: TypeAlias = Literal["above", "below", "inside"]


class Reference(NamedTuple):
    """A reference's value and the 95 % interval of further texts like it; NaN bounds: unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def half_width(self) -> float:
        """Return half of the interval's width; NaN where it is not known."""
        return (self.high - self.low) / 2

    def side(self, value: float, widen: float = 1.0) -> Side | None:
        """Return where a value lies; None without an interval.

        Args:
            value: of the same metric.
            widen: factor of the interval's width around its centre.
        """
        if math.isnan(self.half_width):
            return None
        centre, reach = (self.low + self.high) / 2, self.half_width * widen
        return (
            "above" if value > centre + reach else "below" if value < centre - reach else "inside"
        )


@dataclass(frozen=True)
class Series:
    """A metric on one split (and bin): finite values by generation, notes where there is none.

    `human` is the same metric of held-out human text of the same size, `base` of the base model's
    own samples, prompted, cut and scored as the sampled text is. Each is the mean over the
    generations that have it; None where it was not measured.
    """

    metric: str
    split: str
    bin: str
    values: Mapping[int, float]
    notes: Mapping[int, str]
    human: Reference | None
    base: Reference | None

    @property
    def measured(self) -> bool:
        """Whether any generation has a number."""
        return bool(self.values)

    @property
    def first(self) -> float | None:
        """The value of generation 0."""
        return self.values.get(0)

    @property
    def last(self) -> float | None:
        """The value of the last generation that has one; None unless that is after 0."""
        generation = max(self.values, default=0)
        return self.values[generation] if generation > 0 else None

    @property
    def change(self) -> float | None:
        """Last minus first, in the metric's unit."""
        return None if self.first is None or self.last is None else self.last - self.first

    @property
    def relative_change(self) -> float | None:
        """The change as a share of where it started; None where that was 0."""
        return None if self.change is None or not self.first else self.change / abs(self.first)


def series(metrics: pd.DataFrame, metric: str, split: str, bin: str = "") -> Series:
    """Return the series of `metric` on `split`; without values where it was not measured.

    >>> import pandas as pd
    >>> row = {"generation": 0, "evaluator": "e", "metric": "m", "split": "drawn", "bin": "",
    ...        "value": 0.5, "n": 9, "note": ""}
    >>> table = pd.DataFrame([row, row | {"split": "human", "value": 0.7}])
    >>> series(table, "m", "drawn").human.value
    0.7
    """
    rows = _rows(metrics, metric, split, bin)
    values, notes = {}, {}
    for generation, value, note in zip(
        rows["generation"], rows["value"], rows["note"], strict=True
    ):
        if math.isfinite(value):
            values[int(generation)] = float(value)
        else:
            notes[int(generation)] = str(note) or ("infinite" if math.isinf(value) else "no number")
    human, base = (
        None if split in REFERENCES else reference(_rows(metrics, metric, name, bin))
        for name in REFERENCES
    )
    return Series(metric, split, bin, values, notes, human, base)


def document_counts(metrics: pd.DataFrame) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Return the smallest and largest number of documents of values that depend on it.

    By metric, split and bin, of all splits that are no reference.
    """
    counts: dict[tuple[str, str, str], tuple[int, int]] = {}
    columns = (metrics[name] for name in ("metric", "split", "bin", "n"))
    for metric, split, bin, n in zip(*columns, strict=True):
        if depends_on_documents(metric) and split not in REFERENCES:
            low, high = counts.get((metric, split, bin), (n, n))
            counts[metric, split, bin] = int(min(low, n)), int(max(high, n))
    return counts


def reference(rows: pd.DataFrame) -> Reference | None:
    """Return the mean of a reference's rows; None where none has a finite value.

    Tables of earlier versions of textmad have no columns `low` and `high`.
    """
    rows = rows[rows["value"].map(math.isfinite)]
    if not len(rows):
        return None
    interval = [float(rows[c].mean()) if c in rows else math.nan for c in ("low", "high")]
    return Reference(math.fsum(rows["value"]) / len(rows), *interval)


def _rows(metrics: pd.DataFrame, metric: str, split: str, bin: str) -> pd.DataFrame:
    return metrics[
        (metrics["metric"] == metric) & (metrics["split"] == split) & (metrics["bin"] == bin)
    ]
