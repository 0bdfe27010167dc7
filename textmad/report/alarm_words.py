"""Early warnings in words and in table cells."""

from __future__ import annotations

from textmad.alarms import Alarm
from textmad.report.alarming import Warned
from textmad.report.comparison import Comparison
from textmad.report.tables import ARROWS, MISSING, Table


def alarm_sentences(comparison: Comparison) -> list[str]:
    """A sentence an arm, then what the alarm promises."""
    if not comparison.warnings:
        return []
    return [
        *(_of_arm(each) for each in comparison.warnings),
        promise(comparison.warnings[0].alarm, "signals"),
    ]


def alarm_table(comparison: Comparison) -> Table:
    """When each signal of each arm fired."""
    lines = []
    for each in comparison.warnings:
        for name, fired in each.alarm.fired.items():
            lead = each.lead(name)
            lines.append(
                (
                    each.keys[name].label,
                    each.arm,
                    ARROWS.get(each.keys[name].direction, ""),
                    _when(each, fired),
                    MISSING if lead is None else str(lead),
                )
            )
    notes = (
        "alarm: the first generation at which the signal is shown to differ, on the side of harm "
        "or, where neither side is better, on either, averaged over the generations so far; "
        f">{comparison.generation}: not by the last. before perplexity: by how many generations "
        "(negative: after).",
        *(
            f"No signal of {each.arm}, since it lacks a number: {', '.join(each.left_out)}."
            for each in comparison.warnings
            if each.left_out
        ),
        *(
            f"{name} of {each.arm} is watched before generation {generation} alone, where a seed "
            "has no number."
            for each in comparison.warnings
            for name, generation in each.alarm.ended.items()
        ),
    )
    return Table(("metric", "arm", "", "alarm", "before perplexity"), tuple(lines), notes)


def promise(alarm: Alarm, watched: str) -> str:
    """How often an alarm over so many things watched is a false one."""
    return (
        f"Of arms that do no harm {alarm.rate:.0%} would set off the alarm, over all its "
        f"generations and {watched} together.".replace("%", " %")
    )


def _when(each: Warned, fired: int | None) -> str:
    return f">{each.alarm.generations[-1]}" if fired is None else str(fired)


def _of_arm(each: Warned) -> str:
    alarm, last = each.alarm, each.alarm.generations[-1]
    if alarm.first is None:
        return f"{each.arm}: no early warning by generation {last} ({alarm.n} seeds)."
    said = f"{each.arm}: early warning at generation {alarm.first} by {' and '.join(alarm.signals)}"
    if each.perplexity is None:
        return f"{said}; held-out perplexity is no signal here."
    if each.perplexity in alarm.signals:
        return f"{said}; nothing precedes perplexity."
    lead = each.lead(alarm.signals[0])
    if lead is None:
        return f"{said}; perplexity gives none by generation {last}."
    return f"{said}, {lead} generation{'s' if lead > 1 else ''} before perplexity."
