"""One metric of all arms, each number paired with that of the control of the same seed."""

from __future__ import annotations

import math
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
    """The name of a number: the columns of metrics.parquet that say what was measured."""

    evaluator: str
    metric: str
    split: str
    bin: str

    def names(self) -> list[str]:
        """Return the names it can be asked for by: METRIC/SPLIT/BIN, shortened from the right.

        >>> Key("perplexity", "loss", "held_out", "").names()[:2]
        ['loss', 'loss/held_out']
        """
        short = [] if self.bin else [self.metric, f"{self.metric}/{self.split}"]
        full = f"{self.metric}/{self.split}/{self.bin}"
        return [*short, full, f"{self.evaluator}/{full}"]

    @property
    def short(self) -> str:
        """Return METRIC/SPLIT, and the bin where there is one."""
        return "/".join(filter(None, self[1:]))

    @property
    def direction(self) -> str:
        """Return which is better: lower, higher or human; empty where that is not known."""
        known = METRICS.get(self.metric)
        return known.direction if known else ""

    @property
    def unit(self) -> str:
        """Return the metric's unit; empty where it has none."""
        known = METRICS.get(self.metric)
        return known.unit if known else ""

    @property
    def label(self) -> str:
        """Return the name in tables and sentences."""
        known = METRICS.get(self.metric)
        parts = (known.label if known else self.metric, self.split.replace("_", "-"), self.bin)
        return ", ".join(part for part in parts if part)


class Infinite(NamedTuple):
    """In how many of the seeds that an arm and its control share a number is infinite."""

    arm: int
    control: int
    seeds: int


class HarmTable(NamedTuple):
    """How much worse an arm is than its control, and how much is tolerated; (seeds, generations).

    `two_sided`: neither side is known to be better, so that values on both sides of 0 are harm.
    """

    values: pd.DataFrame
    tolerance: pd.DataFrame
    two_sided: bool

    def bounds(self, tolerance: float = 1.0) -> tuple[float, float]:
        """Return where harm begins on either side for this tolerance."""
        return (-tolerance if self.two_sided else -math.inf), tolerance


@dataclass(frozen=True)
class Paired:
    """Tables (seeds, generations) by the arm's name; NaN where there is no number."""

    key: Key
    share: float  # of the control's value: the tolerance
    values: Mapping[str, pd.DataFrame]  # of every arm, controls first
    controls: Mapping[str, str]  # the control's name by that of each arm with a control
    differences: Mapping[str, pd.DataFrame]  # of each arm with a control; infinite less that: NaN
    human: Mapping[str, pd.Series[float]]  # by arm: human text's value of each seed, if measured

    def harm(self, arm: str) -> HarmTable:
        """Return how much worse the arm is than its control, seed by seed.

        Of metrics that are best at the human value it is how much further from human text the arm
        is: to come nearer is no harm. Where human text was not measured both sides are harm.
        """
        control = self.values[self.controls[arm]]
        difference, direction = self.differences[arm], self.key.direction
        tolerance = (self.share * control.abs()).reindex_like(difference)
        if direction in ("lower", "higher"):
            return HarmTable(difference if direction == "lower" else -difference, tolerance, False)
        human = self.human.get(self.controls[arm])
        pairs = self.values[arm].index.intersection(control.index)
        if direction != "human" or human is None or human.reindex(pairs).isna().any():
            return HarmTable(difference, tolerance, True)
        away = [table.sub(human, axis=0).abs() for table in (self.values[arm], control)]
        return HarmTable((away[0] - away[1]).reindex_like(difference), tolerance, False)

    def tolerance(self, arm: str, seeds: Any, generation: int) -> float:
        """Return it in the metric's unit; NaN where no seed has a finite number of the control."""
        control = self.values[self.controls[arm]]
        return self.share * abs(float(finite(control.loc[seeds], generation).mean()))

    def infinite(self, arm: str, generation: int) -> Infinite | None:
        """Return in how many of the common seeds a number is infinite; None where in none."""
        tables = self.values[arm], self.values[self.controls[arm]]
        seeds = tables[0].index.intersection(tables[1].index)
        arm_count, control_count = (
            int(np.isinf(table.loc[seeds, generation]).sum()) for table in tables
        )
        some = arm_count or control_count
        return Infinite(arm_count, control_count, len(seeds)) if some else None


def finite(numbers: pd.DataFrame, generation: int) -> pd.Series[float]:
    """Return the finite numbers of a generation, by seed."""
    column: pd.Series[float] = numbers[generation]
    numbers_only: pd.Series[float] = column[np.isfinite(column)]
    return numbers_only


def over_seeds(numbers: pd.DataFrame) -> dict[int, inference.Interval]:
    """Return the mean of each generation that has a number, with its 95 % interval."""
    columns = {g: finite(numbers, g) for g in map(int, numbers.columns)}
    return {g: inference.mean_interval(column) for g, column in columns.items() if len(column)}
