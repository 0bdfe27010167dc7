"""Losses by frequency bin in words and in table cells."""

from __future__ import annotations

from itertools import groupby

from textmad.report.alarm_words import promise
from textmad.report.alarming import Warned
from textmad.report.bins import BinLosses
from textmad.report.comparison import Comparison
from textmad.report.heat_maps import heat_maps
from textmad.report.tables import ARROWS, Table

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
    return [*(_of_arm(*each) for each in asked), promise(asked[0][1].alarm, "bins")]


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


def _of_arm(each: BinLosses, warned: Warned) -> str:
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
