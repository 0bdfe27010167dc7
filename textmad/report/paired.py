"""One metric of all arms, each number beside that of the control of the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad import stats
from textmad.report.comparison import Infinite, Key

if TYPE_CHECKING:
    import pandas as pd


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


def over_seeds(numbers: pd.DataFrame) -> dict[int, stats.Interval]:
    """The mean of each generation that has a number, with its 95 % interval."""
    found = {g: finite(numbers, g) for g in map(int, numbers.columns)}
    return {g: stats.mean_interval(column) for g, column in found.items() if len(column)}
