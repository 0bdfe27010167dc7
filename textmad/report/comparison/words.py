"""A comparison in words and in table cells: what is shown, what is not, and on what it rests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from textmad.analysis.comparison import Against, Comparison, Row, show_times
from textmad.analysis.pairs import LEVEL, Infinite, Key
from textmad.report.tables import ARROWS, MISSING, Table, show_number, show_rounded, show_signed
from textmad.statistics import inference


def verdict_sentences(comparison: Comparison) -> list[str]:
    """One paragraph an arm, then what all of it rests on."""
    arms = [arm for arm in comparison.seeds if arm in comparison.controls]
    found = [*(_of_arm(comparison, arm) for arm in arms), _rests_on(comparison)]
    if comparison.partial:
        found.append("Runs are missing or not finished, see under the table: all this may change.")
    return found


def difference_table(comparison: Comparison) -> Table:
    """Values and differences to the control at the last generation."""
    generation = f"gen {comparison.generation}"
    header = ("metric", "arm", "", generation, "difference", "p", "sign flips", "human")
    lines = []
    for row in comparison.rows:
        cells = [MISSING] * 3 if row.arm in comparison.controls else [""] * 3
        if row.against is not None:
            flips = row.against.sign_flips.p
            cells = [
                show_difference(row.against.difference),
                show_p(row.against.p),
                MISSING if row.against.difference.n < 2 else show_p(flips),
            ]
        human = "" if row.human is None else show_number(row.human)
        lines.append((*_opening(row), show_value(row.value), *cells, human))
    return Table(header, tuple(lines), (*_difference_notes(comparison), *comparison.notes))


def generation_table(comparison: Comparison) -> Table:
    """How differences grew, whether no harm is shown, and since when it is there."""
    header = (
        "metric",
        "arm",
        "",
        "per generation",
        "tolerance",
        "no harm: p",
        "outside from",
        "median",
    )
    lines = []
    for row in comparison.rows:
        if math.isnan(row.tolerance):
            continue
        against = row.against
        slope = against.slope if against else None
        lines.append(
            (
                *_opening(row),
                MISSING if slope is None else show_difference(slope),
                _tolerance(row),
                show_p(against.no_harm.p) if against else MISSING,
                *_outside_from(row.outside_from),
            )
        )
    notes = (
        f"per generation: slope of the difference to {comparison.control} within each seed, mean "
        "over seeds [95 % interval]. no harm: p of the claim that the difference at generation "
        f"{comparison.generation} stays within the tolerance (equivalence, adjusted as above). "
        "outside from: the generation after 0 from which on it is beyond the tolerance, seed by "
        f"seed, which is no test; >{comparison.generation}: not by the last.",
    )
    return Table(header, tuple(lines), notes)


def show_value(interval: inference.Interval | None) -> str:
    """A mean and half of its interval, to two digits of the latter.

    >>> show_value(stats.Interval(97.871, 96.375, 99.367, 3))
    '97.9 ± 1.5'
    """
    if interval is None:
        return MISSING
    digits = _digits(interval)
    if digits is None:
        return show_number(interval.estimate)
    return (
        f"{show_rounded(interval.estimate, digits)} ± {show_rounded(interval.half_width, digits)}"
    )


def show_difference(interval: inference.Interval, between: str = "[{low}, {high}]") -> str:
    """A signed mean and its interval, likewise.

    >>> show_difference(stats.Interval(28.333, 24.12, 32.56, 3))
    '+28.3 [+24.1, +32.6]'
    """
    digits = _digits(interval)
    if digits is None:
        return show_signed(interval.estimate)
    estimate, low, high = (
        ("+" if bound > 0 else "") + show_rounded(bound, digits) for bound in interval[:3]
    )
    return f"{estimate} {between.format(low=low, high=high)}"


def show_p(p: float) -> str:
    """A p value; none below 0.001 is worth its digits.

    >>> [show_p(p) for p in (0.0002, 0.0412, 0.25, 1.0, float("nan"))]
    ['<0.001', '0.041', '0.25', '1', '–']
    """
    if math.isnan(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def _digits(interval: inference.Interval) -> int | None:
    """Decimals, four at most, that show two digits of the half width; None where all are 0."""
    if not round(interval.half_width, 4) > 0:
        return None
    return min(4, max(0, 1 - math.floor(math.log10(interval.half_width))))


def _outside_from(found: inference.Collapse | None) -> tuple[str, str]:
    """By seed, and the median."""
    if found is None:
        return MISSING, MISSING
    median = f">{found.last}" if math.isinf(found.median) else f"{found.median:g}"
    return show_times(found), median


# --- cells and notes ------------------------------------------------------------------------


def _opening(row: Row) -> tuple[str, str, str]:
    return (row.key.label, row.arm, ARROWS.get(row.key.direction, ""))


def _tolerance(row: Row) -> str:
    sign = {"lower": "+", "higher": "−"}.get(row.key.direction, "±")
    return sign + show_number(row.tolerance)


def _difference_notes(comparison: Comparison) -> list[str]:
    arrows = "↓ lower is better, ↑ higher is better, ≈ nearest to human is better"
    if comparison.pairs < 2:
        why = "One seed: no intervals, no p." if comparison.pairs else "No pair of finite numbers."
        return [f"{arrows}. difference: arm less {comparison.control}. {why}"]
    return [
        f"{arrows}. gen {comparison.generation}: mean over seeds ± half of its 95 % interval. "
        f"difference: arm less {comparison.control} of the same seed [95 % interval]. p: paired t "
        f"test, adjusted for {_questions(comparison)} (Holm). sign flips: p without "
        "normality, not adjusted."
    ]


def _questions(comparison: Comparison) -> str:
    return "1 question" if comparison.questions == 1 else f"{comparison.questions} questions"


def _sign_flips(comparison: Comparison) -> str:
    least = 2.0 ** (1 - comparison.pairs)
    adjusted = min(1.0, least * comparison.questions)
    if adjusted < LEVEL:
        return f"Sign flips of {comparison.pairs} seeds can show a difference by themselves."
    reach = f"cannot give less than {least:.3g}"
    if least < LEVEL:
        reach += f", adjusted {adjusted:.2g}"
    return (
        f"With {comparison.pairs} seeds a sign-flip test {reach}: it can show nothing here, and "
        "what is shown rests on differences between seeds being about normal."
    )


# --- sentences ------------------------------------------------------------------------------


def _of_arm(comparison: Comparison, arm: str) -> str:
    own = [row for row in comparison.rows if row.arm == arm]
    single, several = [r for r in own if _pairs(r) == 1], [r for r in own if _pairs(r) > 1]
    where = f"{arm}, generation {comparison.generation}"
    control = comparison.controls[arm]
    infinite = [_infinite(row.key, row.infinite, control) for row in own if row.infinite]
    if several:
        seeds = f", {_seeds(several)}" if _uneven(comparison) else ""
        parts = [f"{where}{seeds}: {_judged(several, comparison.control)}"]
        if single:
            parts.append(f"Of one seed, which shows nothing: {_listed(single, _single)}.")
    elif single:
        parts = [f"{where}, one seed: {_listed(single, _single)}. One seed shows nothing."]
    elif infinite:
        parts = [f"{where}: no pair of finite numbers."]
    else:
        return f"{where}: nothing was measured that {comparison.control} has too."
    if infinite:
        parts.append(f"In no difference: {'; '.join(infinite)}.")
    return " ".join(parts)


def _pairs(row: Row) -> int:
    """How many seeds its difference rests on."""
    return row.against.difference.n if row.against else 0


def _uneven(comparison: Comparison) -> bool:
    return len({_pairs(row) for row in comparison.rows if row.against}) > 1


def _seeds(rows: Sequence[Row]) -> str:
    """The seeds of rows that rest on several."""
    counts = sorted({_pairs(row) for row in rows if _pairs(row) > 1})
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"


def _judged(rows: Sequence[Row], control: str) -> str:
    """What is shown, which harm is shown to be none, and what is neither."""
    judged: list[tuple[str, Sequence[Row]]] = [
        (f"above {control}", [r for r in rows if _side(r) > 0]),
        (f"below {control}", [r for r in rows if _side(r) < 0]),
    ]
    shown = [f"{side}: {_listed(found, _with_interval)}" for side, found in judged if found]
    parts = [f"shown {'; '.join(shown)}." if shown else "no difference is shown."]
    harmless = [row for row in rows if row.harmless]
    if harmless:
        parts.append(f"Shown to do no harm beyond the tolerance: {_listed(harmless, _bounded)}.")
    undecided = [r for r in rows if r.against and not (r.against.differs or r.harmless)]
    if undecided:
        said = _listed(undecided, _with_interval)
        parts.append(f"Neither a difference nor the absence of harm is shown: {said}.")
    return " ".join(parts)


def _rests_on(comparison: Comparison) -> str:
    if not comparison.pairs:
        return "No two finite numbers of a seed stand beside each other: nothing is tested."
    if comparison.pairs < 2:
        return "These figures carry no interval: run more seeds before believing a difference."
    return (
        f"Shown means p < {LEVEL:g}, paired by seed ({_seeds(comparison.rows)}), adjusted for "
        f"{_questions(comparison)}. {_sign_flips(comparison)}"
    )


def _infinite(key: Key, found: Infinite, control: str) -> str:
    also = f" ({control}: {found.control} of {found.seeds})" if found.control else ""
    return f"{key.label}, infinite in {found.arm} of {found.seeds} seeds{also}"


def _side(row: Row) -> int:
    against = row.against
    if against is None or not against.differs:
        return 0
    return 1 if against.difference.estimate > 0 else -1


def _listed(rows: Sequence[Row], say: Callable[[Row, Against], str]) -> str:
    return "; ".join(say(row, row.against) for row in rows if row.against is not None)


def _with_interval(row: Row, against: Against) -> str:
    value = show_value(row.value).split(" ± ")[0]
    difference = show_difference(against.difference, "(95 % interval {low} to {high})")
    return f"{row.key.label} {value}, {difference}"


def _bounded(row: Row, against: Against) -> str:
    return (
        f"{row.key.label}, {show_difference(against.no_harm.interval, '(90 %: {low} to {high})')} "
        f"against {_tolerance(row)}"
    )


def _single(row: Row, against: Against) -> str:
    return f"{row.key.label} {show_value(row.value)} ({show_signed(against.difference.estimate)})"
