"""Figures of a comparison: curves, a forest of differences, heat maps and critical shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.analysis.alarms import BinLosses
from textmad.analysis.comparison_result import Comparison, ComparisonRow, Curve
from textmad.analysis.critical_shares import CriticalShareRow
from textmad.analysis.pairs import Key
from textmad.evaluators.metrics import METRICS, bounds, value_range
from textmad.report import plots
from textmad.report.numbers import MISSING, show_difference, show_rounded
from textmad.report.tables import chosen_generations
from textmad.statistics import inference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = (plots.ORANGE, plots.BLUE, plots.GREEN, plots.PURPLE, plots.YELLOW)


def curves(comparison: Comparison) -> list[plots.Figure]:
    """Draw a figure a metric: each arm's mean over seeds with its interval, and the references."""
    colors = _colors(comparison)
    figures = []
    for number, key in enumerate(_keys(comparison)):
        own = [curve for curve in comparison.curves if curve.key == key and curve.values]
        lines = [_line(curve, colors[curve.arm]) for curve in own]
        references = _references(comparison, key)
        lines += references
        svg = plots.draw(
            f"curve-{number}",
            [plots.Panel("", lines)],
            x_title="generation",
            y_title=key.unit or key.metric.replace("_", " "),
        )
        reading = ["Mean over seeds; the band is its 95 % interval."] * (comparison.pairs > 1)
        if references:
            reading.append(
                "Dashed: held-out human text, with the 95 % interval of such texts, and the base "
                "model's own samples."
            )
        figures.append(plots.Figure(key.label, " ".join(reading), svg))
    return figures


def forest(comparison: Comparison) -> plots.Figure:
    """Differences to the control at the last generation, a panel a metric."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    keys, colors = _keys(comparison), _colors(comparison)
    arms = [arm for arm in comparison.seeds if arm in comparison.controls]
    columns = min(len(keys), 2)
    rows = -(-len(keys) // columns)
    with rc_context(plots.STYLE):
        canvas = Canvas(figsize=(5.2 * columns, (0.9 + 0.34 * len(arms)) * rows))
        axes = canvas.subplots(rows, columns, sharey=True, squeeze=False).flat
        for axis in axes[len(keys) :]:
            axis.set_visible(False)
        for axis, key in zip(axes, keys, strict=False):
            _panel(axis, key, [row for row in comparison.rows if row.key == key], arms, colors)
        canvas.tight_layout(w_pad=2.0)
        svg = plots.to_svg(canvas, "forest")
    return plots.Figure(
        f"Differences to {comparison.control} at generation {comparison.generation}",
        "Mean of arm less control, paired by seed, with its 95 % interval. Shaded: the tolerance, "
        "on the harmful side alone where one is better; of ≈ metrics with a human reference all "
        "that is not further from human text than the control by more than the tolerance.",
        svg,
    )


def _panel(
    axis: Axes, key: Key, rows: Sequence[ComparisonRow], arms: Sequence[str], colors: dict[str, str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_title(key.label, loc="left", fontsize=10, fontweight="bold")
    contrasts = {row.arm: row.against for row in rows if row.against is not None}
    inside = {row.arm: _tolerated(row) for row in rows if row.arm in contrasts}
    # One outline around the bands of all arms; single ones would show seams.
    low, high = np.repeat([inside.get(arm, (0.0, 0.0)) for arm in arms], 2, axis=0).T
    edges = np.repeat(np.arange(len(arms) + 1), 2)[1:-1] - 0.5
    axis.fill_betweenx(edges, low, high, color=plots.GREY, alpha=0.15, linewidth=0)
    axis.axvline(0, color=plots.GREY, linewidth=1)
    for place, arm in enumerate(arms):
        if arm not in contrasts:
            continue
        mean, low, high, _ = contrasts[arm].difference
        color = colors[arm]
        if not math.isnan(low):
            axis.plot([low, high], [place, place], color=color, linewidth=2)
        axis.plot([mean], [place], color=color, marker="o", markersize=5.5)
    axis.set_yticks(range(len(arms)), arms)
    axis.set_ylim(len(arms) - 0.5, -0.5)  # the first arm on top, as in the table
    axis.grid(axis="y", visible=False)
    axis.xaxis.set_major_locator(MaxNLocator(6))  # more would touch where numbers are long
    axis.set_xlabel(f"difference ({key.unit})" if key.unit else "difference")


def _tolerated(row: ComparisonRow) -> tuple[float, float]:
    """From where to where the arm's difference is no harm, nothing of it on the better side.

    Of metrics that are best at the human value these are the differences that bring the arm no
    further from human text than the control, or by the tolerance at most.
    """
    if row.key.direction == "human" and row.human and row.value and row.against:
        control = row.value.estimate - row.against.difference.estimate - row.human.value
        reach = abs(control) + row.tolerance
        return -reach - control, reach - control
    low, high = bounds(row.key.metric, row.tolerance)
    return (low if math.isfinite(low) else 0.0), (high if math.isfinite(high) else 0.0)


def _references(comparison: Comparison, key: Key) -> list[plots.Line]:
    """The references of a metric, as the table has them for its first arm."""
    row = next(row for row in comparison.rows if row.key == key)
    generations = {g for curve in comparison.curves if curve.key == key for g in curve.values}
    return plots.reference_lines(sorted(generations), row.human, row.base)


def _line(curve: Curve, color: str) -> plots.Line:
    generations, intervals = list(curve.values), list(curve.values.values())
    # An interval may reach beyond what a metric can be, such as a share below 0.
    known = METRICS.get(curve.key.metric)
    least, most = value_range(known) if known else (-math.inf, math.inf)
    band = (
        [max(each.low, least) for each in intervals],
        [min(each.high, most) for each in intervals],
    )
    measured = not any(math.isnan(each.low) for each in intervals)
    means = [each.estimate for each in intervals]
    return plots.Line(curve.arm, generations, means, color, band=band if measured else None)


def _keys(comparison: Comparison) -> list[Key]:
    return list(dict.fromkeys(row.key for row in comparison.rows))


def _colors(comparison: Comparison) -> dict[str, str]:
    """Grey for controls; with more arms than colours these come again, told apart by label."""
    colors = cycle(_COLORS)
    return {
        arm: next(colors) if arm in comparison.controls else plots.GREY for arm in comparison.seeds
    }


# --- heat maps --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One bin in one generation: the mean, what else is known, and how strong its colour is."""

    text: str
    more: str = ""
    side: str = ""  # "worse" or "better"; empty where it rounds to 0
    strength: float = 0.0  # share of the largest movement of all arms


@dataclass(frozen=True)
class HeatRow:
    """One bin: a cell for each generation, and the generation from which its loss rises."""

    cells: tuple[Cell, ...]
    rises_from: str  # > the last generation where not by then; empty where nothing is asked


@dataclass(frozen=True)
class HeatMap:
    """Bins (the rarest first) x generations of one arm, or of several that changed alike."""

    arm: str
    against: str
    rows: Mapping[str, HeatRow]

    @property
    def asked(self) -> bool:
        """Return whether any bin says since when its loss rises."""
        return any(row.rises_from for row in self.rows.values())


@dataclass(frozen=True)
class HeatMaps:
    """The maps of all arms, those alike merged, their columns and their common scale."""

    generations: tuple[int, ...]
    scale: tuple[Cell, ...]
    maps: tuple[HeatMap, ...]


def heat_maps(comparison: Comparison) -> HeatMaps:
    """Of every arm how the loss change in each bin; the same scale for all."""
    changes = [row for each in comparison.bins for row in each.changes.values()]
    peak = max((abs(m.estimate) for row in changes for m in row.values()), default=0.0) or 1.0
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
                    key.bin: HeatRow(
                        tuple(_cell(row.get(g), peak) for g in generations), _rises_from(each, key)
                    )
                    for key, row in each.changes.items()
                },
            )
            for each in comparison.bins
        ),
    )


def _merged(maps: Iterable[HeatMap]) -> tuple[HeatMap, ...]:
    """One map for arms that changed alike in everything, as controls of arms drawn otherwise do."""
    alike: dict[Any, list[HeatMap]] = {}
    for each in maps:
        alike.setdefault((each.against, *each.rows.items()), []).append(each)
    return tuple(
        replace(same[0], arm=", ".join(each.arm for each in same)) for same in alike.values()
    )


def _cell(change: inference.Interval | None, peak: float) -> Cell:
    if change is None:
        return Cell(MISSING, "no number")
    # Two digits of the largest movement, and two decimals at least.
    digits = min(4, max(2, 1 - math.floor(math.log10(peak))))
    text = show_rounded(change.estimate, digits)
    if not text.strip("−0."):
        return Cell(text, _more(change))
    strength = round(abs(change.estimate) / peak, 3)
    if change.estimate > 0:
        return Cell(f"+{text}", _more(change), "worse", strength)
    return Cell(text, _more(change), "better", strength)


def _more(change: inference.Interval) -> str:
    if not change.n:  # a mark of the scale
        return ""
    if change.n == 1:
        return "1 seed"
    return f"{show_difference(change, '(95 % interval {low} to {high})')}, {change.n} seeds"


def _rises_from(each: BinLosses, key: Key) -> str:
    if each.warning is None:
        return ""
    if key.label not in each.warning.keys:
        return MISSING
    fired = each.rises_from(key)
    return f">{each.warning.alarm.generations[-1]}" if fired is None else str(fired)


# --- critical shares ------------------------------------------------------------------------


def critical_share_curves(comparison: Comparison) -> list[plots.Figure]:
    """A figure a metric and family."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    figures = []
    for number, each in enumerate(comparison.critical_shares):
        with rc_context(plots.STYLE):
            canvas = Canvas(figsize=(5.6, 3.1))
            _draw_critical_share(canvas.subplots(), each)
            canvas.tight_layout()
            svg = plots.to_svg(canvas, f"share-{number}")
        named = ", ".join(filter(None, [each.key.label, each.family, each.meaning]))
        figures.append(plots.Figure(named, _READING, svg))
    return figures


_READING = (
    "Mean difference to human text alone, with its 95 % interval at each share, and the fitted "
    "curve. Dashed: the tolerance. Dotted: the critical share; shaded: its 95 % interval."
)


def _draw_critical_share(axis: Axes, each: CriticalShareRow) -> None:
    result = each.result
    for bound in each.bounds:
        if math.isfinite(bound):
            axis.axhline(bound, color=plots.ORANGE, linestyle="--", linewidth=1.4)
    axis.axhline(0, color=plots.GREY, linewidth=1)
    axis.plot(result.curve.shares, result.curve.mean, color=plots.BLUE, linewidth=1.8)
    if result.n > 1:
        ends = [min(share, each.shares[-1]) for share in (result.low, result.high)]
        axis.axvspan(*ends, color=plots.ORANGE, alpha=0.12, linewidth=0)
    if math.isfinite(result.estimate):
        axis.axvline(result.estimate, color=plots.ORANGE, linestyle=":", linewidth=1.4)
    for share, difference in zip(each.shares, each.differences, strict=True):
        mean, low, high, n = difference.interval
        if n > 1:
            axis.plot([share, share], [low, high], color=plots.BLUE, linewidth=1.4)
        axis.plot([share], [mean], color=plots.BLUE, marker="o", markersize=4.5)
    axis.set_xlim(0, None)
    axis.set_xlabel("share of model text")
    named = "further from human text" if each.from_human else "difference"
    axis.set_ylabel(f"{named} ({each.key.unit})" if each.key.unit else named)
