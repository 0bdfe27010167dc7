"""Differences to the control in sentences and in table cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from textmad.analysis.comparison_result import Against, Comparison, ComparisonRow, show_times
from textmad.analysis.pairs import LEVEL, Infinite, Key
from textmad.report.numbers import (
    ARROWS,
    MISSING,
    show_difference,
    show_number,
    show_p,
    show_reference,
    show_signed,
    show_value,
)
from textmad.report.tables import Table
from textmad.statistics import inference


def verdict_sentences(comparison: Comparison) -> list[str]:
    """Return a paragraph for each arm, then what all of them rest on."""
    arms = [arm for arm in comparison.seeds if arm in comparison.controls]
    sentences = [_of_arm(comparison, arm) for arm in arms]
    sentences += [_crossed(comparison, arm) for arm in arms if _crossed(comparison, arm)]
    sentences.append(_rests_on(comparison))
    if comparison.partial:
        sentences.append("Runs are missing or not finished (see the notes): this may change.")
    return sentences


def difference_table(comparison: Comparison) -> Table:
    """Return values, differences to the control and references at the last generation."""
    has_base = any(row.base for row in comparison.rows)
    header = (
        "metric",
        "arm",
        "",
        f"gen {comparison.generation}",
        "difference",
        "p",
        "sign flips",
        *(["base"] if has_base else []),
        "human",
    )
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
        references = [row.base, row.human] if has_base else [row.human]
        shown = ["" if each is None else show_reference(each) for each in references]
        lines.append((*_opening(row), show_value(row.value), *cells, *shown))
    return Table(header, tuple(lines), (*_difference_notes(comparison), *comparison.notes))


def generation_table(comparison: Comparison) -> Table:
    """Return how differences grew, whether harm is ruled out, and since when it exists."""
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
        "over seeds [95 % interval]. no harm: p of the claim that the arm is not worse than its "
        f"control by more than the tolerance at generation {comparison.generation} "
        "(non-inferiority where a metric has a better side or a human reference, else equivalence; "
        "adjusted as above). Of ≈ metrics with a human reference, worse means further from human "
        "text. outside from: the generation after 0 from which on the arm is worse by more than "
        "the tolerance, seed by seed, which is a description and no test; "
        f">{comparison.generation}: not by the last.",
    )
    return Table(header, tuple(lines), notes)


def _outside_from(collapse: inference.Collapse | None) -> tuple[str, str]:
    """By seed, and the median."""
    if collapse is None:
        return MISSING, MISSING
    median = f">{collapse.last}" if math.isinf(collapse.median) else f"{collapse.median:g}"
    return show_times(collapse), median


# --- cells and notes ------------------------------------------------------------------------


def _opening(row: ComparisonRow) -> tuple[str, str, str]:
    return (row.key.label, row.arm, ARROWS.get(row.key.direction, ""))


def _tolerance(row: ComparisonRow) -> str:
    sign = {"lower": "+", "higher": "−"}.get(row.key.direction, "±")
    return sign + show_number(row.tolerance)


def _difference_notes(comparison: Comparison) -> list[str]:
    arrows = "↓ lower is better, ↑ higher is better, ≈ nearest to human is better"
    if any(row.base for row in comparison.rows):
        arrows += ". base: the base model's own samples; human: held-out human text [95 % interval]"
    if comparison.pairs < 2:
        why = "One seed: no intervals, no p." if comparison.pairs else "No pair of finite numbers."
        return [f"{arrows}. difference: arm less {comparison.control}. {why}"]
    return [
        f"{arrows}. gen {comparison.generation}: mean over seeds ± half of its 95 % interval. "
        f"difference: arm less {comparison.control} of the same seed [95 % interval]. p: paired t "
        f"test, adjusted for {_questions(comparison)} (Holm). sign flips: p of a test that does "
        "not assume normality, not adjusted."
    ]


def _questions(comparison: Comparison) -> str:
    return "1 question" if comparison.questions == 1 else f"{comparison.questions} questions"


def _sign_flips(comparison: Comparison) -> str:
    least = 2.0 ** (1 - comparison.pairs)
    adjusted = min(1.0, least * comparison.questions)
    if adjusted < LEVEL:
        return f"Sign flips of {comparison.pairs} seeds can support a difference by themselves."
    reach = f"cannot give less than {least:.3g}"
    if least < LEVEL:
        reach += f", adjusted {adjusted:.2g}"
    return (
        f"With {comparison.pairs} seeds a sign-flip test {reach}: it can support nothing here, and "
        "significance assumes that differences between seeds are about normal."
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
            parts.append(f"Of one seed, which supports nothing: {_listed(single, _single)}.")
    elif single:
        parts = [f"{where}, one seed: {_listed(single, _single)}. One seed supports nothing."]
    elif infinite:
        parts = [f"{where}: no pair of finite numbers."]
    else:
        return f"{where}: nothing was measured that {comparison.control} has too."
    if infinite:
        parts.append(f"In no difference: {'; '.join(infinite)}.")
    return " ".join(parts)


def _pairs(row: ComparisonRow) -> int:
    """How many seeds its difference rests on."""
    return row.against.difference.n if row.against else 0


def _uneven(comparison: Comparison) -> bool:
    return len({_pairs(row) for row in comparison.rows if row.against}) > 1


def _seeds(rows: Sequence[ComparisonRow]) -> str:
    """The seeds of rows that rest on several."""
    counts = sorted({_pairs(row) for row in rows if _pairs(row) > 1})
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"


def _judged(rows: Sequence[ComparisonRow], control: str) -> str:
    """What differs significantly, where harm is ruled out, and what is undecided."""
    judged: list[tuple[str, Sequence[ComparisonRow]]] = [
        (f"above {control}", [r for r in rows if _side(r) > 0]),
        (f"below {control}", [r for r in rows if _side(r) < 0]),
    ]
    sides = [f"{side}: {_listed(rows, _with_interval)}" for side, rows in judged if rows]
    parts = [f"significantly {'; '.join(sides)}." if sides else "no significant difference."]
    harmless = [row for row in rows if row.harmless]
    if harmless:
        parts.append(f"Harm beyond the tolerance is ruled out: {_listed(harmless, _bounded)}.")
    undecided = [r for r in rows if r.against and not (r.against.differs or r.harmless)]
    if undecided:
        listed = _listed(undecided, _with_interval)
        parts.append(f"Undecided (neither a difference nor the absence of harm): {listed}.")
    return " ".join(parts)


def _rests_on(comparison: Comparison) -> str:
    if not comparison.pairs:
        return "No seed has a finite number of both an arm and its control: nothing is tested."
    if comparison.pairs < 2:
        return "These figures carry no interval: run more seeds before believing a difference."
    holds = (
        "new seeds and new human text of this kind, given this base model: each seed has its own "
        "part of the corpus."
        if comparison.own_text
        else "new seeds, given this human pool, held-out text and base model."
    )
    return (
        f"Significant means p < {LEVEL:g}, paired by seed ({_seeds(comparison.rows)}), adjusted "
        f"for {_questions(comparison)}. A difference of {comparison.detectable:.2g} standard "
        "deviations between seeds is then found in 4 of 5 studies. "
        f"{_sign_flips(comparison)} Intervals and p hold for {holds}"
    )


def _crossed(comparison: Comparison, arm: str) -> str:
    """The interval of held-out loss for new seeds and new documents; empty where there is none."""
    for each in comparison.crossed:
        if each.arm == arm:
            low, high = (math.exp(bound) for bound in each.difference[1:3])
            nats = show_difference(each.difference, "(95 % interval {low} to {high})")
            return (
                f"{arm}, held-out loss for new seeds and new held-out documents: {nats} "
                f"nats/token, perplexity times {math.exp(each.difference.estimate):.3g} ({low:.3g} "
                f"to {high:.3g}); {each.difference.n} seeds crossed with {each.documents:,} "
                "documents."
            )
    return ""


def _infinite(key: Key, count: Infinite, control: str) -> str:
    also = f" ({control}: {count.control} of {count.seeds})" if count.control else ""
    return f"{key.label}, infinite in {count.arm} of {count.seeds} seeds{also}"


def _side(row: ComparisonRow) -> int:
    against = row.against
    if against is None or not against.differs:
        return 0
    return 1 if against.difference.estimate > 0 else -1


def _listed(rows: Sequence[ComparisonRow], say: Callable[[ComparisonRow, Against], str]) -> str:
    return "; ".join(say(row, row.against) for row in rows if row.against is not None)


def _with_interval(row: ComparisonRow, against: Against) -> str:
    value = show_value(row.value).split(" ± ")[0]
    difference = show_difference(against.difference, "(95 % interval {low} to {high})")
    references = {"human text": row.human, "base model's own samples": row.base}
    beside = [f"{name} {show_number(each.value)}" for name, each in references.items() if each]
    return f"{row.key.label} {value}, {difference}" + (f" [{'; '.join(beside)}]" if beside else "")


def _bounded(row: ComparisonRow, against: Against) -> str:
    if row.key.direction in ("lower", "higher"):
        verb = "worse"
    else:
        verb = "further from human text" if row.human else "changed"
    between = "{low} to {high}"
    interval = show_difference(against.no_harm.interval, between).partition(" ")[2]
    interval = interval or show_signed(against.no_harm.interval.estimate)
    return f"{row.key.label} {verb} by {interval} (90 %), tolerance {show_number(row.tolerance)}"


def _single(row: ComparisonRow, against: Against) -> str:
    return f"{row.key.label} {show_value(row.value)} ({show_signed(against.difference.estimate)})"
