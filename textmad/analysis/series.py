"""One metric over the generations, out of a run's tidy metrics table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Series:
    """A metric on one split (and bin): finite values by generation, notes where there is none.

    `human` is the mean over generations of the same metric on human text of the same size;
    None where the metric has no human reference.
    """

    metric: str
    split: str
    bin: str
    values: Mapping[int, float]
    notes: Mapping[int, str]
    human: float | None

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
    """The series of `metric` on `split`; without values where it was not measured.

    >>> import pandas as pd
    >>> row = {"generation": 0, "evaluator": "e", "metric": "m", "split": "drawn", "bin": "",
    ...        "value": 0.5, "n": 9, "note": ""}
    >>> series(pd.DataFrame([row, row | {"split": "human", "value": 0.7}]), "m", "drawn").human
    0.7
    """
    values, notes = _column(metrics, metric, split, bin)
    human = None
    if split != "human":
        references, _ = _column(metrics, metric, "human", bin)
        human = math.fsum(references.values()) / len(references) if references else None
    return Series(metric, split, bin, values, notes, human)


def _column(
    metrics: pd.DataFrame, metric: str, split: str, bin: str
) -> tuple[dict[int, float], dict[int, str]]:
    rows = metrics[
        (metrics["metric"] == metric) & (metrics["split"] == split) & (metrics["bin"] == bin)
    ]
    values, notes = {}, {}
    for generation, value, note in zip(
        rows["generation"], rows["value"], rows["note"], strict=True
    ):
        if math.isfinite(value):
            values[int(generation)] = float(value)
        else:
            notes[int(generation)] = str(note) or ("infinite" if math.isinf(value) else "no number")
    return values, notes
