"""Early warnings, losses by frequency bin and critical shares in sentences and table cells."""

from __future__ import annotations

import math
from itertools import groupby

from textmad.analysis.alarms import BinLosses, EarlyWarning
from textmad.analysis.comparison_result import Comparison
from textmad.analysis.critical_shares import CriticalShareRow
from textmad.report.comparison.figures import heat_maps
from textmad.report.numbers import ARROWS, MISSING, show_difference, show_number
from textmad.report.tables import Table

_INTERVAL = "(95 % interval {low} to {high})"


def alarm_sentences(comparison: Comparison) -> list[str]:
    """Return a sentence or two for each arm, then what the alarm promises."""
    if not comparison.warnings:
        return []
    rate = comparison.warnings[0].alarm.rate
    return [
        *(_warning_of_arm(each) for each in comparison.warnings),
        f"An arm without harm beyond the tolerance in any signal raises this alarm in at most "
        f"{rate:.0%} of studies, over all generations and signals together.".replace("%", " %"),
    ]


def alarm_table(comparison: Comparison) -> Table:
    """Return when each signal of each arm fired, and its lead over perplexity."""
    lines = [
        (
            each.keys[name].label,
            each.arm,
            ARROWS.get(each.keys[name].direction, ""),
            _when(each, fired),
            show_difference(each.leads[name]) if name in each.leads else MISSING,
        )
        for each in comparison.warnings
        for name, fired in each.alarm.fired.items()
    ]
    notes = (
        "alarm: the first generation at which harm beyond the tolerance is supported, averaged "
        "over the generations so far; of ≈ metrics with a human reference harm is to be further "
        f"from human text, of others either side. >{comparison.generation}: not by the last. lead "
        "over perplexity: by how many generations a seed leaves the tolerance of this metric for "
        "good before it leaves that of perplexity, mean over seeds [interval]; the intervals of an "
        "arm hold together at 95 %. A seed that does not leave counts as leaving after the last "
        "generation.",
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
    return Table(("metric", "arm", "", "alarm", "lead over perplexity"), tuple(lines), notes)


def _when(each: EarlyWarning, fired: int | None) -> str:
    return f">{each.alarm.generations[-1]}" if fired is None else str(fired)


def _warning_of_arm(each: EarlyWarning) -> str:
    alarm, last = each.alarm, each.alarm.generations[-1]
    if alarm.first is None:
        return f"{each.arm}: no early warning by generation {last} ({alarm.n} seeds)."
    first = (
        f"{each.arm}: early warning at generation {alarm.first} by {' and '.join(alarm.signals)}"
    )
    if each.perplexity is None:
        return f"{first}; held-out perplexity is no signal here."
    if each.ahead:
        leads = "; ".join(
            f"{name} by {show_difference(each.leads[name], _INTERVAL)} generations"
            for name in each.ahead
        )
        return f"{first}. Ahead of perplexity: {leads}."
    if alarm.signals == [each.perplexity] or not each.leads:
        return f"{first}."
    return f"{first}. No lead over perplexity is supported: the first of several is a selection."


# --- losses by frequency bin ----------------------------------------------------------------

_NOTE = (
    "Loss on held-out tokens (nats/token) by how common they are in human text, mean over seeds: "
    "an arm less its control of the same seed and generation; an arm without a control less its "
    "own generation 0. rarest: the rarest types, which make up a tenth of human text; 75-100%: the "
    "commonest. Where the tail is lost first, rare bins rise before common ones."
)


def bin_sentences(comparison: Comparison) -> list[str]:
    """Return for each arm where its loss rises, in which order; then what that rests on."""
    tested = [(each, each.warning) for each in comparison.bins if each.warning is not None]
    if not tested:
        return [
            "Which bin rises first is not tested: that takes two seeds and a generation after 0."
        ]
    rate = f"{tested[0][1].alarm.rate:.0%}".replace("%", " %")
    return [
        *(_bins_of_arm(*each) for each in tested),
        f"This counts any rise, however small: where no bin rises, it reports one in {rate} of "
        "arms, over all generations and bins together.",
    ]


def bin_table(comparison: Comparison) -> Table:
    """Return a line for each bin and arm: the change by generation, and since when it rises."""
    maps = heat_maps(comparison)
    header = ("bin", "arm", "", *(f"gen {g}" for g in maps.generations), "rises from")
    keys = {key.bin: key for key in comparison.bins[0].changes}
    lines = [
        (
            name,
            each.arm,
            ARROWS.get(key.direction, ""),
            *(cell.text for cell in each.rows[name].cells),
            each.rows[name].rises_from,
        )
        for name, key in keys.items()
        for each in maps.maps
    ]
    return Table(header, tuple(lines), (_NOTE, *_more_notes(comparison, len(maps.generations))))


def _more_notes(comparison: Comparison, columns: int) -> list[str]:
    last = comparison.generation
    notes = [
        "rises from: the generation at which any rise is supported, averaged over the generations "
        f"so far, by one alarm over all bins and generations; >{last}: not by the last. A bin "
        "whose seeds agree is supported sooner than one that rises as much and varies more."
    ]
    if columns <= last:
        notes.append(f"{columns} of {last + 1} generations are displayed.")
    return notes


def _bins_of_arm(each: BinLosses, warning: EarlyWarning) -> str:
    alarm, last = warning.alarm, warning.alarm.generations[-1]
    fired = {key.bin: each.rises_from(key) for key in warning.keys.values()}
    rising = sorted(
        (g, position, name) for position, (name, g) in enumerate(fired.items()) if g is not None
    )
    if not rising:
        return (
            f"{each.arm}: no rise is supported in any bin by generation {last} ({alarm.n} seeds)."
        )
    steps = [
        f"{', '.join(name for *_, name in together)} (generation {generation})"
        for generation, together in groupby(rising, key=lambda one: one[0])
    ]
    never = ", ".join(name for name, g in fired.items() if g is None)
    first = f"{each.arm}: a rise of the loss is supported first in {'; then in '.join(steps)}"
    first += f"; not by generation {last} in {never}." if never else "."
    begun = rising[0][0]
    num_first = sum(generation == begun for generation, *_ in rising)
    if num_first == 1:
        return first
    where = " the earliest that is watched," if begun == alarm.generations[0] else ""
    return (
        f"{first} {num_first} bins are supported in the same generation,{where} so which of them "
        "rises first is not known."
    )


# --- critical shares ------------------------------------------------------------------------

_MEANINGS = {
    "replaced": "model text replacing human text",
    "added": "model text added to human text",
}


def share_sentences(comparison: Comparison) -> list[str]:
    """Return a paragraph for each metric and family: the critical share, and whether some helps."""
    return [" ".join(_of_critical_share(each)) for each in comparison.critical_shares]


def share_table(comparison: Comparison) -> Table:
    """Return a line for each metric and family."""
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
            show_share(each.result.estimate, each),
            _interval(each),
            MISSING if math.isnan(each.result.harmless) else show_share(each.result.harmless, each),
            ", ".join(show_share(share, each) for share, _ in each.helping) or MISSING,
            ", ".join(show_share(share, each) for share in each.shares),
        )
        for each in comparison.critical_shares
    ]
    notes = (
        "critical share: the smallest share of model tokens in a generation's training set at "
        f"which the difference to {comparison.control} at generation {comparison.generation} "
        "leaves the tolerance, on a curve fitted to all shares. 95 % interval: between the largest "
        "share up to which all shares run are inside the tolerance and the smallest from which all "
        "are outside (t tests at each share); it does not rest on the curve. no harm up to: the "
        "same as its lower end, at 5 %. helping: shares better than none (p < 0.05, adjusted for "
        "the shares). >: beyond the largest share run. Of ≈ metrics "
        "with a human reference outside means further from human text, of others on either side.",
    )
    return Table(header, tuple(lines), notes)


def show_share(share: float, of: CriticalShareRow) -> str:
    """Return a share at two decimals, or that it lies beyond the largest share run."""
    return f">{of.shares[-1]:.2f}" if math.isinf(share) else f"{share:.2f}"


def _interval(each: CriticalShareRow) -> str:
    if each.result.n < 2:
        return MISSING
    return f"[{show_share(each.result.low, each)}, {show_share(each.result.high, each)}]"


def _of_critical_share(each: CriticalShareRow) -> list[str]:
    result = each.result
    meaning = _MEANINGS[each.meaning]
    opening = f"{each.family}, {meaning}" if each.family else meaning.capitalize()
    subject = f"{opening}, {each.key.label}"
    within = f"within the tolerance of {show_number(each.tolerance)}"
    if math.isinf(result.estimate):
        estimate = f"{subject}: stays {within} up to the largest share run, {each.shares[-1]:.2f}"
    else:
        estimate = f"{subject}: stays {within} up to a model share of {result.estimate:.2f}"
        if each.meaning == "added" and result.estimate:
            ratio = result.estimate / (1 - result.estimate)
            estimate += f", {ratio:.2g} model tokens for each human token"
    if result.n < 2:
        return [f"{estimate}. One seed supports nothing."]
    low, high = (show_share(bound, each) for bound in (result.low, result.high))
    if math.isinf(result.high):
        interval = f"95 % interval {low} or more" if result.low else "no share is ruled out"
    elif not result.low:
        interval = f"95 % interval: at most {high}"
    else:
        interval = f"95 % interval {low} to {high}"
    harmless = (
        f"Harm is ruled out up to {show_share(result.harmless, each)}."
        if result.harmless > 0
        else "Harm is ruled out at no share run."
    )
    return [f"{estimate} ({interval}, {result.n} seeds).", harmless, *_benefit(each)]


def _benefit(each: CriticalShareRow) -> list[str]:
    """Whether some model text is better than none; nothing without a better side."""
    if each.key.direction not in ("lower", "higher"):
        return []
    if each.helping:
        helping = "; ".join(
            f"{share:.2f}, {show_difference(interval, _INTERVAL)}"
            for share, interval in each.helping
        )
        return [f"Shares better than none: {helping}."]
    smallest = show_difference(each.differences[0].interval, _INTERVAL)
    return [f"No share is significantly better than none: {each.shares[0]:.2f}, {smallest}."]
