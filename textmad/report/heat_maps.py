"""Losses by frequency bin as heat maps: numbers on colours, so that either can be read alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from textmad import stats
from textmad.report.bins import BinLosses
from textmad.report.comparison import Comparison, Key
from textmad.report.comparison_words import show_difference
from textmad.report.tables import MISSING, chosen_generations, show_rounded


@dataclass(frozen=True)
class Cell:
    """One bin in one generation: the mean, what else is known, and how strong its colour is."""

    text: str
    more: str = ""
    side: str = ""  # "worse" or "better"; empty where it rounds to 0
    strength: float = 0.0  # share of the largest movement of all arms


@dataclass(frozen=True)
class Row:
    """One bin: a cell a generation, and the generation at which a rise is shown."""

    cells: tuple[Cell, ...]
    shown_from: str  # > the last generation where not by then; empty where nothing is asked


@dataclass(frozen=True)
class HeatMap:
    """Bins (the rarest first) x generations of one arm, or of several that moved alike."""

    arm: str
    against: str
    rows: Mapping[str, Row]

    @property
    def asked(self) -> bool:
        """Whether any bin says since when a rise is shown."""
        return any(row.shown_from for row in self.rows.values())


@dataclass(frozen=True)
class HeatMaps:
    """The maps of all arms, those alike merged, their columns and their common scale."""

    generations: tuple[int, ...]
    scale: tuple[Cell, ...]
    maps: tuple[HeatMap, ...]


def heat_maps(comparison: Comparison) -> HeatMaps:
    """Of every arm how the loss moved in each bin; the same scale for all."""
    moved = [row for each in comparison.bins for row in each.moved.values()]
    peak = max((abs(m.estimate) for row in moved for m in row.values()), default=0.0) or 1.0
    generations = chosen_generations(range(comparison.generation + 1))
    marks = (stats.Interval(peak * part, math.nan, math.nan, 0) for part in (-1, -0.5, 0, 0.5, 1))
    return HeatMaps(
        generations=tuple(generations),
        scale=tuple(_cell(mark, peak) for mark in marks),
        maps=_merged(
            HeatMap(
                arm=each.arm,
                against=f"less {each.control}" if each.control else "less its own generation 0",
                rows={
                    key.bin: Row(
                        tuple(_cell(row.get(g), peak) for g in generations), _shown_from(each, key)
                    )
                    for key, row in each.moved.items()
                },
            )
            for each in comparison.bins
        ),
    )


def _merged(maps: Iterable[HeatMap]) -> tuple[HeatMap, ...]:
    """One map for arms that moved alike in everything, as controls of arms drawn otherwise do."""
    alike: dict[Any, list[HeatMap]] = {}
    for each in maps:
        alike.setdefault((each.against, *each.rows.items()), []).append(each)
    return tuple(
        replace(same[0], arm=", ".join(each.arm for each in same)) for same in alike.values()
    )


def _cell(moved: stats.Interval | None, peak: float) -> Cell:
    if moved is None:
        return Cell(MISSING, "no number")
    # Two digits of the largest movement, and two decimals at least.
    digits = min(4, max(2, 1 - math.floor(math.log10(peak))))
    text = show_rounded(moved.estimate, digits)
    if not text.strip("−0."):
        return Cell(text, _more(moved))
    strength = round(abs(moved.estimate) / peak, 3)
    if moved.estimate > 0:
        return Cell(f"+{text}", _more(moved), "worse", strength)
    return Cell(text, _more(moved), "better", strength)


def _more(moved: stats.Interval) -> str:
    if not moved.n:  # a mark of the scale
        return ""
    if moved.n == 1:
        return "1 seed"
    return f"{show_difference(moved, '(95 % interval {low} to {high})')}, {moved.n} seeds"


def _shown_from(each: BinLosses, key: Key) -> str:
    if each.warned is None:
        return ""
    if key.label not in each.warned.keys:
        return MISSING
    fired = each.shown_from(key)
    return f">{each.warned.alarm.generations[-1]}" if fired is None else str(fired)
