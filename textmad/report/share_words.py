"""Critical shares in words and in table cells."""

from __future__ import annotations

import math

from textmad.report.comparison import Comparison
from textmad.report.comparison_words import show_difference
from textmad.report.shares import Threshold
from textmad.report.tables import ARROWS, MISSING, Table, show_number

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
