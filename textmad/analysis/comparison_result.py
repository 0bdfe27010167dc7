"""The result of `textmad compare`: rows by metric and arm, and the same as tables of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from textmad.analysis.pairs import LEVEL, Infinite, Key
from textmad.statistics import inference
from textmad.statistics.power import difference_needed

if TYPE_CHECKING:
    import pandas as pd

    from textmad.analysis.alarms import BinLosses, EarlyWarning
    from textmad.analysis.critical_shares import CriticalShareRow
    from textmad.analysis.hypotheses import HypothesisTest
    from textmad.analysis.populations import Inbreeding
    from textmad.analysis.quality_diversity import Plane
    from textmad.analysis.series import Reference
    from textmad.loop.run import Run

# What a study has not registered before its first run was chosen after a look at the results.
CONFIRMATORY, EXPLORATORY = "confirmatory", "exploratory"
# Columns of the shares that `Explained` has, in its order.
_SHARES = (
    *("inbreeding", "generation", "generation_any_curve"),
    *("inbreeding_given_generation", "generation_given_inbreeding", "inbreeding_less_generation"),
)


@dataclass(frozen=True)
class Against:
    """An arm compared with its control at the last generation, in the seeds with finite numbers."""

    difference: inference.Interval  # arm less control of the same seed
    p: float  # paired t test, adjusted (Holm) over the table
    sign_flips: inference.SignFlips
    # Of how much worse the arm is (`Paired.harm`), within the tolerance; its p adjusted likewise.
    no_harm: inference.Equivalence
    slope: inference.Interval | None  # of the difference, per generation

    @property
    def differs(self) -> bool:
        """Return whether a difference is supported."""
        return self.p < LEVEL


@dataclass(frozen=True)
class ComparisonRow:
    """One metric of one arm at the last generation, and the references of its text."""

    key: Key
    arm: str
    value: inference.Interval | None  # over the arm's seeds; None where none has a number
    human: Reference | None  # held-out human text of the same size
    base: Reference | None  # the base model's own samples
    against: Against | None = None  # None for a control, and where no pair has finite numbers
    tolerance: float = math.nan  # in the metric's unit
    # When the difference left the tolerance for good; None up to generation 0, where all arms have
    # learned from human text alone.
    outside_from: inference.Collapse | None = None
    infinite: Infinite | None = None  # None: no number is

    @property
    def harmless(self) -> bool:
        """Return whether no harm beyond the tolerance is supported, with all numbers finite."""
        supported = self.against is not None and self.against.no_harm.p < LEVEL
        return supported and not self.infinite


@dataclass(frozen=True)
class CrossedDifference:
    """The difference of held-out loss when seeds and held-out documents both vary, nats/token."""

    arm: str
    difference: inference.Interval
    documents: int


@dataclass(frozen=True)
class Curve:
    """One metric of one arm over the generations."""

    key: Key
    arm: str
    values: Mapping[int, inference.Interval]


@dataclass(frozen=True)
class Comparison:
    """Arms compared with one control, or each with its own.

    `control` is the control's name in sentences, `controls` its name by the name of each arm that
    is compared with it. `settings` are those that differ between arms, by arm; `notes` concern the
    comparison as a whole. `critical_shares` exist where arms differ in their share of model text,
    `warnings` where there are two seeds, `bins` where rare_tokens was measured, `crossed` where
    runs hold the losses of single held-out documents, `hypotheses` where a study has registered
    some, `planes` where it has a temperature sweep, `inbreeding` where arms are populations with
    inbred members; `own_text` says whether each seed has human text of its own (`corpus.parts`),
    and `runs` (one an arm, whose texts are displayed) exist where the numbers came from run
    folders. All but `hypotheses` is exploratory.
    """

    control: str
    controls: Mapping[str, str]
    seeds: Mapping[str, tuple[int, ...]]
    generation: int
    rows: tuple[ComparisonRow, ...]
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, Mapping[str, str]]
    critical_shares: tuple[CriticalShareRow, ...]
    warnings: tuple[EarlyWarning, ...]
    bins: tuple[BinLosses, ...]
    partial: bool  # runs are missing or not finished
    crossed: tuple[CrossedDifference, ...] = ()
    own_text: bool = False
    hypotheses: tuple[HypothesisTest, ...] = ()
    planes: tuple[Plane, ...] = ()
    inbreeding: tuple[Inbreeding, ...] = ()
    runs: Mapping[str, Run] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return a line for each metric and arm, all figures as numbers; NaN where none is."""
        import pandas as pd

        return pd.DataFrame([_flat(self, row) for row in self.rows])

    @property
    def questions(self) -> int:
        """Return how many differences were tested, for which p is adjusted."""
        return sum(row.against is not None and row.against.difference.n > 1 for row in self.rows)

    @property
    def detectable(self) -> float:
        """Return the smallest difference found in 4 of 5 such tables, in deviations of seeds."""
        return difference_needed(self.pairs, self.questions)

    @property
    def pairs(self) -> int:
        """Return the largest number of seeds that any difference rests on."""
        return max((row.against.difference.n for row in self.rows if row.against), default=0)


def _flat(comparison: Comparison, row: ComparisonRow) -> dict[str, object]:
    """A row as plain columns."""
    nothing = inference.Interval(math.nan, math.nan, math.nan, 0)
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
        "human": nan if row.human is None else row.human.value,
        "human_low": nan if row.human is None else row.human.low,
        "human_high": nan if row.human is None else row.human.high,
        "base": nan if row.base is None else row.base.value,
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
        "analysis": EXPLORATORY,
    }


def show_times(collapse: inference.Collapse) -> str:
    """Return each seed's generation as text; > the last one where it had not come by then.

    >>> show_times(inference.Collapse((2, None), 5, 2.0))
    '2, >5'
    """
    return ", ".join(f">{collapse.last}" if t is None else str(t) for t in collapse.times)


# --- tables of numbers ----------------------------------------------------------------------


# An infinite share or generation lies beyond all that were run.
def share_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a line for each metric and family of arms: the critical share and its interval."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                **each.key._asdict(),
                "direction": each.key.direction,
                "arms": each.family,
                "meaning": each.meaning,
                "control": each.control,
                "generation": comparison.generation,
                "seeds": each.result.n,
                "tolerance": each.tolerance,
                "critical_share": each.result.estimate,
                "critical_share_low": each.result.low,
                "critical_share_high": each.result.high,
                "no_harm_up_to": each.result.harmless,
                "helping": ", ".join(f"{share:g}" for share, _ in each.helping),
                "shares": ", ".join(f"{share:g}" for share in each.shares),
                "analysis": EXPLORATORY,
            }
            for each in comparison.critical_shares
        ]
    )


def alarm_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a line for each arm and signal: its alarm, and its lead over perplexity."""
    import pandas as pd

    nothing = inference.Interval(math.nan, math.nan, math.nan, 0)
    return pd.DataFrame(
        [
            {
                **each.keys[name]._asdict(),
                "direction": each.keys[name].direction,
                "arm": each.arm,
                "control": comparison.controls[each.arm],
                "seeds": each.alarm.n,
                "rate": each.alarm.rate,
                "alarm": _number(fired, math.inf),
                "lead": (each.leads.get(name) or nothing).estimate,
                "lead_low": (each.leads.get(name) or nothing).low,
                "lead_high": (each.leads.get(name) or nothing).high,
                "analysis": EXPLORATORY,
            }
            for each in comparison.warnings
            for name, fired in each.alarm.fired.items()
        ]
    )


def bin_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a line for each arm, bin and generation: how far the loss lies above the control's.

    Without a control, above that of the arm's own generation 0.
    """
    import pandas as pd

    lines = []
    for each in comparison.bins:
        for key, changes in each.changes.items():
            asked = each.warning is not None and key.label in each.warning.keys
            for generation, interval in changes.items():
                lines.append(
                    {
                        **key._asdict(),
                        "arm": each.arm,
                        "control": each.control or "",
                        "generation": generation,
                        "seeds": interval.n,
                        "difference": interval.estimate,
                        "difference_low": interval.low,
                        "difference_high": interval.high,
                        "rises_from": _number(each.rises_from(key), math.inf)
                        if asked
                        else math.nan,
                        "analysis": EXPLORATORY,
                    }
                )
    return pd.DataFrame(lines)


def hypothesis_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a line for each hypothesis: what it claims, since when, and what the study says."""
    import pandas as pd

    lines = []
    for each in comparison.hypotheses:
        known, claim = each.registered, each.hypothesis
        lines.append(
            {
                "analysis": CONFIRMATORY if known.is_confirmatory else EXPLORATORY,
                "hypothesis": claim.name,
                "metric": claim.metric,
                "arm": claim.arm,
                "against": claim.against,
                "direction": claim.direction,
                "tolerance": claim.tolerance,
                "level": claim.level,
                "generation": claim.generation,
                "seeds": ", ".join(map(str, claim.seeds)),
                "registered": known.since.date,
                "runs_with_results": known.since.runs_with_results,
                "changed": "; ".join(version.date for version, _ in known.changes),
                "ended": f"{known.end} {known.ended.date}" if known.ended else "",
                "difference": each.difference.estimate,
                "difference_low": each.difference.low,
                "difference_high": each.difference.high,
                "bound_low": each.pairs.bounds[0],
                "bound_high": each.pairs.bounds[1],
                "p": each.p,
                "questions": each.questions,
                "supported": each.supported if each.p == each.p else None,
                "why_not_tested": each.pairs.why_not,
            }
        )
    return pd.DataFrame(lines)


def inbreeding_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a line for each metric: the shares that F and the generation explain."""
    import pandas as pd

    lines = []
    for each in comparison.inbreeding:
        line: dict[str, object] = {"metric": each.metric, "split": "drawn"}
        for name, interval in zip(_SHARES, each.explained[:6], strict=True):
            line |= {name: interval.estimate}
            line |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        runs = each.explained.one.n
        line |= {"members": each.explained.num_rows, "runs": runs, "analysis": EXPLORATORY}
        lines.append(line)
    return pd.DataFrame(lines)


def _number(generation: int | None, otherwise: float) -> float:
    return otherwise if generation is None else float(generation)
