"""Early warnings in words and in table cells."""

from __future__ import annotations

import math
from itertools import groupby

from textmad.analysis.comparison import Comparison
from textmad.analysis.dose_series import Threshold
from textmad.analysis.frequency_bins import BinLosses
from textmad.analysis.warnings import Warned
from textmad.report.comparison.findings_plots import heat_maps
from textmad.report.comparison.words import show_difference
from textmad.report.tables import ARROWS, MISSING, Table, show_number
from textmad.statistics.early_warning import Alarm


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


# --- losses by frequency bin ----------------------------------------------------------------

_NOTE = (
    "Loss on held-out tokens (nats/token) by how common they are in human text, mean over seeds: "
    "an arm less its control of the same seed and generation; one that has none, as controls, less "
    "its own generation 0. rarest: the rarest types, which make up a tenth of human text; 75-100%: "
    "the commonest. Where the tail goes first, rare bins rise before common ones."
)


def bin_sentences(comparison: Comparison) -> list[str]:
    """Of each arm where its loss is shown to rise, in which order; then what that rests on."""
    asked = [(each, each.warned) for each in comparison.bins if each.warned is not None]
    if not asked:
        return [
            "Which bin goes first is not shown: that takes two seeds, and a generation after 0."
        ]
    return [*(_bins_of_arm(*each) for each in asked), promise(asked[0][1].alarm, "bins")]


def bin_table(comparison: Comparison) -> Table:
    """A line a bin and arm: the movement by generation, and since when a rise is shown."""
    maps = heat_maps(comparison)
    header = ("bin", "arm", "", *(f"gen {g}" for g in maps.generations), "shown from")
    keys = {key.bin: key for key in comparison.bins[0].moved}
    lines = [
        (
            name,
            each.arm,
            ARROWS.get(key.direction, ""),
            *(cell.text for cell in each.rows[name].cells),
            each.rows[name].shown_from,
        )
        for name, key in keys.items()
        for each in maps.maps
    ]
    return Table(header, tuple(lines), (_NOTE, *_more_notes(comparison, len(maps.generations))))


def _more_notes(comparison: Comparison, columns: int) -> list[str]:
    last = comparison.generation
    notes = [
        "shown from: the generation at which a rise is shown, averaged over the generations so "
        f"far, by one alarm over all bins and generations; >{last}: not by the last. A bin whose "
        "seeds agree is sure sooner than one that rises as much and varies more."
    ]
    if columns <= last:
        notes.append(f"{columns} of {last + 1} generations are shown.")
    return notes


def _bins_of_arm(each: BinLosses, warned: Warned) -> str:
    alarm, last = warned.alarm, warned.alarm.generations[-1]
    fired = {key.bin: each.shown_from(key) for key in warned.keys.values()}
    rising = sorted(
        (g, place, name) for place, (name, g) in enumerate(fired.items()) if g is not None
    )
    if not rising:
        return f"{each.arm}: in no bin is a rise shown by generation {last} ({alarm.n} seeds)."
    steps = [
        f"{', '.join(name for *_, name in together)} (generation {generation})"
        for generation, together in groupby(rising, key=lambda one: one[0])
    ]
    never = ", ".join(name for name, g in fired.items() if g is None)
    said = f"{each.arm}: the loss is shown to rise first in {'; then in '.join(steps)}"
    return f"{said}; not by generation {last} in {never}." if never else f"{said}."


# --- critical shares ------------------------------------------------------------------------

_MEANINGS = {
    "replaced": "model text replacing human text",
    "added": "model text added to human text",
}


def share_sentences(comparison: Comparison) -> list[str]:
    """A paragraph a metric and family: the critical share, and whether a little helps."""
    return [" ".join(_of(each)) for each in comparison.thresholds]


def share_table(comparison: Comparison) -> Table:
    """A line a metric and family."""
    header = (
        "metric",
        "arms",
        "",
        "tolerance",
        "critical share",
        "95 % interval",
        "no harm up to",
        "helping",
        "shares run",
    )
    lines = [
        (
            each.key.label,
            ", ".join(filter(None, [each.family, each.meaning])),
            ARROWS.get(each.key.direction, ""),
            show_number(each.tolerance),
            show_share(each.found.estimate, each),
            _interval(each),
            MISSING if math.isnan(each.found.harmless) else show_share(each.found.harmless, each),
            ", ".join(show_share(share, each) for share, _ in each.helping) or MISSING,
            ", ".join(show_share(share, each) for share in each.shares),
        )
        for each in comparison.thresholds
    ]
    notes = (
        "critical share: of a generation's training tokens, those of a model; the least at which "
        f"the difference to {comparison.control} at generation {comparison.generation} leaves the "
        "tolerance, on a curve fitted to all shares. no harm up to: there the 90 % band of the "
        "curve lies inside the tolerance. helping: shares shown to be better than none (p < 0.05, "
        "adjusted for the shares). >: beyond the largest share run. Each interval stands for "
        "itself.",
    )
    return Table(header, tuple(lines), notes)


def show_share(share: float, of: Threshold) -> str:
    """Two decimals or, beyond the largest share run, that."""
    return f">{of.shares[-1]:.2f}" if math.isinf(share) else f"{share:.2f}"


def _interval(each: Threshold) -> str:
    if each.found.n < 2:
        return MISSING
    return f"[{show_share(each.found.low, each)}, {show_share(each.found.high, each)}]"


def _of(each: Threshold) -> list[str]:
    found = each.found
    meaning = _MEANINGS[each.meaning]
    opening = f"{each.family}, {meaning}" if each.family else meaning.capitalize()
    subject = f"{opening}, {each.key.label}"
    within = f"within the tolerance of {show_number(each.tolerance)}"
    if math.isinf(found.estimate):
        said = f"{subject}: stays {within} up to the largest share run, {each.shares[-1]:.2f}"
    else:
        said = f"{subject}: stays {within} up to a model share of {found.estimate:.2f}"
        if each.meaning == "added" and found.estimate:
            ratio = found.estimate / (1 - found.estimate)
            said += f", {ratio:.2g} tokens of a model for each human one"
    if found.n < 2:
        return [f"{said}. One seed shows nothing."]
    low, high = show_share(found.low, each), show_share(found.high, each)
    interval = f"95 % interval {low} to {high}"
    if low.startswith(">"):
        interval = f"95 % interval beyond {low[1:]}"
    harmless = (
        f"No harm is shown up to {show_share(found.harmless, each)}."
        if found.harmless > 0
        else "Of no share run it is shown that it does no harm."
    )
    return [f"{said} ({interval}, {found.n} seeds).", harmless, *_help(each)]


def _help(each: Threshold) -> list[str]:
    """Whether a little model text is better than none; no question without a better side."""
    if each.key.direction not in ("lower", "higher"):
        return []
    between = "(95 % interval {low} to {high})"
    if each.helping:
        shown = "; ".join(
            f"{share:.2f}, {show_difference(interval, between)}" for share, interval in each.helping
        )
        return [f"Shown to help: {shown}."]
    smallest = show_difference(each.differences[0].interval, between)
    return [f"That a small share helps is not shown: {each.shares[0]:.2f}, {smallest}."]
