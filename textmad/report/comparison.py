"""What `textmad compare` found: a row a metric and arm, and the same as a table of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from textmad import stats
from textmad.evaluators.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from textmad.report.alarming import Warned
    from textmad.report.bins import BinLosses
    from textmad.report.shares import Threshold
    from textmad.store import Run

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


@dataclass(frozen=True)
class Against:
    """An arm set against the control at the last generation, in the seeds with finite numbers."""

    difference: stats.Interval  # arm less control of the same seed
    p: float  # paired t test, adjusted (Holm) over the table
    sign_flips: stats.SignFlips
    no_harm: stats.Equivalence  # its p adjusted likewise
    slope: stats.Interval | None  # of the difference, per generation

    @property
    def differs(self) -> bool:
        """Whether a difference is shown."""
        return self.p < LEVEL


class Infinite(NamedTuple):
    """In how many of the seeds that an arm and its control share a number is infinite."""

    arm: int
    control: int
    seeds: int


@dataclass(frozen=True)
class Row:
    """One metric of one arm at the last generation."""

    key: Key
    arm: str
    value: stats.Interval | None  # over the arm's seeds; None where none has a number
    human: float | None  # the same metric of human text of the same size
    against: Against | None = None  # None for a control, and where no pair has finite numbers
    tolerance: float = math.nan  # in the metric's unit
    # When the difference left the tolerance for good; None up to generation 0, where all arms have
    # learned from human text alone.
    outside_from: stats.Collapse | None = None
    infinite: Infinite | None = None  # None: no number is

    @property
    def harmless(self) -> bool:
        """Whether no harm beyond the tolerance is shown; it is not where a number is infinite."""
        shown = self.against is not None and self.against.no_harm.p < LEVEL
        return shown and not self.infinite


@dataclass(frozen=True)
class Curve:
    """One metric of one arm over the generations."""

    key: Key
    arm: str
    values: Mapping[int, stats.Interval]


@dataclass(frozen=True)
class Comparison:
    """Arms against a control, or each against its own.

    `control` is what it is called, `controls` its name by that of each arm set against it.
    `settings` are those in which not all arms agree, by arm; `notes` what has to be said of the
    comparison as a whole. `thresholds` are there where arms differ in their share of model text,
    `warnings` where there are two seeds, `bins` where rare_tokens was measured, and `runs`, one an
    arm whose texts are shown, where the numbers came from run folders.
    """

    control: str
    controls: Mapping[str, str]
    seeds: Mapping[str, tuple[int, ...]]
    generation: int
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, Mapping[str, str]]
    thresholds: tuple[Threshold, ...]
    warnings: tuple[Warned, ...]
    bins: tuple[BinLosses, ...]
    partial: bool  # runs are missing or not finished
    runs: Mapping[str, Run] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a metric and arm, all figures as numbers; NaN where there is none."""
        import pandas as pd

        return pd.DataFrame([_flat(self, row) for row in self.rows])

    @property
    def questions(self) -> int:
        """How many differences were tested: what p is adjusted for."""
        return sum(row.against is not None and row.against.difference.n > 1 for row in self.rows)

    @property
    def pairs(self) -> int:
        """The most seeds that any difference rests on."""
        return max((row.against.difference.n for row in self.rows if row.against), default=0)


def _flat(comparison: Comparison, row: Row) -> dict[str, object]:
    """A row as plain columns."""
    nothing = stats.Interval(math.nan, math.nan, math.nan, 0)
    value, against = row.value or nothing, row.against
    difference = against.difference if against else nothing
    slope = (against.slope if against else None) or nothing
    nan = math.nan
    return {
        **row.key._asdict(),
        "direction": row.key.direction,
        "arm": row.arm,
        "control": comparison.controls.get(row.arm, row.arm),
        "generation": comparison.generation,
        "seeds": value.n,
        "value": value.estimate,
        "value_low": value.low,
        "value_high": value.high,
        "human": nan if row.human is None else row.human,
        "pairs": difference.n,
        "difference": difference.estimate,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p": against.p if against else nan,
        "p_sign_flips": against.sign_flips.p if against else nan,
        "least_p_sign_flips": against.sign_flips.least if against else nan,
        "tolerance": row.tolerance,
        "p_no_harm": against.no_harm.p if against else nan,
        "slope": slope.estimate,
        "slope_low": slope.low,
        "slope_high": slope.high,
        "outside_from": show_times(row.outside_from) if row.outside_from else "",
        "outside_from_median": row.outside_from.median if row.outside_from else nan,
        "infinite": row.infinite.arm if row.infinite else 0,
    }


def show_times(collapse: stats.Collapse) -> str:
    """Each seed's generation; > the last one where it had not come by then.

    >>> show_times(stats.Collapse((2, None), 5, 2.0))
    '2, >5'
    """
    return ", ".join(f">{collapse.last}" if t is None else str(t) for t in collapse.times)
