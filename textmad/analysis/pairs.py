"""One metric of all arms, each number beside that of the control of the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textmad.evaluators.metrics import METRICS
from textmad.statistics import inference

if TYPE_CHECKING:
    import pandas as pd


LEVEL = 0.05


class Key(NamedTuple):
    """A number's name: the columns of metrics.parquet that say what was measured."""

    evaluator: str
    metric: str
    split: str
    bin: str

    def names(self) -> list[str]:
        """What it can be asked for by: METRIC/SPLIT/BIN, parts left out from the right.

        >>> Key("perplexity", "loss", "held_out", "").names()[:2]
        ['loss', 'loss/held_out']
        """
        short = [] if self.bin else [self.metric, f"{self.metric}/{self.split}"]
        full = f"{self.metric}/{self.split}/{self.bin}"
        return [*short, full, f"{self.evaluator}/{full}"]

    @property
    def short(self) -> str:
        """METRIC/SPLIT, and the bin where there is one."""
        return "/".join(filter(None, self[1:]))

    @property
    def direction(self) -> str:
        """Lower, higher or human is better; empty where that is not known."""
        known = METRICS.get(self.metric)
        return known.direction if known else ""

    @property
    def unit(self) -> str:
        """The metric's unit; empty where it has none."""
        known = METRICS.get(self.metric)
        return known.unit if known else ""

    @property
    def label(self) -> str:
        """As a reader calls it."""
        known = METRICS.get(self.metric)
        parts = (known.label if known else self.metric, self.split.replace("_", "-"), self.bin)
        return ", ".join(part for part in parts if part)


class Infinite(NamedTuple):
    """In how many of the seeds that an arm and its control share a number is infinite."""

    arm: int
    control: int
    seeds: int


@dataclass(frozen=True)
class Paired:
    """Tables (seeds, generations) by the arm's name; NaN where there is no number."""

    key: Key
    share: float  # of the control's value: the tolerance
    values: Mapping[str, pd.DataFrame]  # of every arm, controls first
    controls: Mapping[str, str]  # the control's name by that of each arm set against it
    differences: Mapping[str, pd.DataFrame]  # of each arm set against one; infinite less that: NaN

    def tolerance(self, arm: str, seeds: Any, generation: int) -> float:
        """In the metric's unit; NaN where none of the seeds has a finite number of the control."""
        control = self.values[self.controls[arm]]
        return self.share * abs(float(finite(control.loc[seeds], generation).mean()))

    def infinite(self, arm: str, generation: int) -> Infinite | None:
        """In how many of the seeds that both were measured under; None where in none."""
        tables = self.values[arm], self.values[self.controls[arm]]
        seeds = tables[0].index.intersection(tables[1].index)
        arm_count, control_count = (
            int(np.isinf(table.loc[seeds, generation]).sum()) for table in tables
        )
        some = arm_count or control_count
        return Infinite(arm_count, control_count, len(seeds)) if some else None


def finite(numbers: pd.DataFrame, generation: int) -> pd.Series[float]:
    """The numbers of a generation, by seed."""
    column: pd.Series[float] = numbers[generation]
    found: pd.Series[float] = column[np.isfinite(column)]
    return found


def over_seeds(numbers: pd.DataFrame) -> dict[int, inference.Interval]:
    """The mean of each generation that has a number, with its 95 % interval."""
    found = {g: finite(numbers, g) for g in map(int, numbers.columns)}
    return {g: inference.mean_interval(column) for g, column in found.items() if len(column)}
