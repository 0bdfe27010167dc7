"""Losses by frequency bin as heat maps: numbers on colours, so that either can be read alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from textmad.analysis.comparison import Comparison
from textmad.analysis.dose_series import Threshold
from textmad.analysis.frequency_bins import BinLosses
from textmad.analysis.pairs import Key
from textmad.evaluators.metrics import bounds
from textmad.report import plots
from textmad.report.comparison.words import show_difference
from textmad.report.tables import MISSING, chosen_generations, show_rounded
from textmad.statistics import inference

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    marks = (
        inference.Interval(peak * part, math.nan, math.nan, 0) for part in (-1, -0.5, 0, 0.5, 1)
    )
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


def _cell(moved: inference.Interval | None, peak: float) -> Cell:
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


def _more(moved: inference.Interval) -> str:
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


# --- critical shares ------------------------------------------------------------------------


def threshold_curves(comparison: Comparison) -> list[plots.Figure]:
    """A figure a metric and family."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    figures = []
    for number, each in enumerate(comparison.thresholds):
        with rc_context(plots.STYLE):
            canvas = Canvas(figsize=(5.6, 3.1))
            _draw(canvas.subplots(), each)
            canvas.tight_layout()
            svg = plots.to_svg(canvas, f"share-{number}")
        named = ", ".join(filter(None, [each.key.label, each.family, each.meaning]))
        figures.append(plots.Figure(named, _READING, svg))
    return figures


_READING = (
    "Mean difference to human text alone, with its 95 % interval at each share, and the fitted "
    "curve with its 95 % band. Dashed: the tolerance. Dotted and shaded: the critical share and "
    "its interval."
)


def _draw(axis: Axes, each: Threshold) -> None:
    found, band = each.found, each.found.band
    for bound in bounds(each.key.metric, each.tolerance):
        if math.isfinite(bound):
            axis.axhline(bound, color=plots.ORANGE, linestyle="--", linewidth=1.4)
    axis.axhline(0, color=plots.GREY, linewidth=1)
    axis.plot(band.shares, band.mean, color=plots.BLUE, linewidth=1.8)
    if found.n > 1:
        axis.fill_between(
            band.shares, band.low, band.high, color=plots.BLUE, alpha=0.16, linewidth=0
        )
        ends = [min(share, each.shares[-1]) for share in (found.low, found.high)]
        axis.axvspan(*ends, color=plots.ORANGE, alpha=0.12, linewidth=0)
    if math.isfinite(found.estimate):
        axis.axvline(found.estimate, color=plots.ORANGE, linestyle=":", linewidth=1.4)
    for share, difference in zip(each.shares, each.differences, strict=True):
        mean, low, high, n = difference.interval
        if n > 1:
            axis.plot([share, share], [low, high], color=plots.BLUE, linewidth=1.4)
        axis.plot([share], [mean], color=plots.BLUE, marker="o", markersize=4.5)
    axis.set_xlim(0, None)
    axis.set_xlabel("share of model text")
    axis.set_ylabel(f"difference ({each.key.unit})" if each.key.unit else "difference")
