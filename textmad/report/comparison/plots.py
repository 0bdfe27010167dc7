"""A comparison's figures: curves with bands by arm, and differences to the control as a forest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from textmad.analysis.comparison import Comparison, Curve, Row
from textmad.analysis.pairs import Key
from textmad.evaluators.metrics import bounds
from textmad.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = (plots.ORANGE, plots.BLUE, plots.GREEN, plots.PURPLE, plots.YELLOW)


def curves(comparison: Comparison) -> list[plots.Figure]:
    """A figure a metric: each arm's mean over seeds, with its 95 % interval as a band."""
    colors = _colors(comparison)
    figures = []
    for number, key in enumerate(_keys(comparison)):
        own = [curve for curve in comparison.curves if curve.key == key and curve.values]
        lines = [_line(curve, colors[curve.arm]) for curve in own]
        svg = plots.draw(
            f"curve-{number}",
            [plots.Panel("", lines)],
            x_title="generation",
            y_title=key.unit or key.metric.replace("_", " "),
        )
        band = "Mean over seeds; the band is its 95 % interval." if comparison.pairs > 1 else ""
        figures.append(plots.Figure(key.label, band, svg))
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
        "on the harmful side alone where one is better.",
        svg,
    )


def _panel(
    axis: Axes, key: Key, rows: Sequence[Row], arms: Sequence[str], colors: dict[str, str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_title(key.label, loc="left", fontsize=10, fontweight="bold")
    found = {row.arm: row.against for row in rows if row.against is not None}
    inside = {row.arm: _tolerated(row) for row in rows if row.arm in found}
    # One outline around the bands of all arms; single ones would show seams.
    low, high = np.repeat([inside.get(arm, (0.0, 0.0)) for arm in arms], 2, axis=0).T
    edges = np.repeat(np.arange(len(arms) + 1), 2)[1:-1] - 0.5
    axis.fill_betweenx(edges, low, high, color=plots.GREY, alpha=0.15, linewidth=0)
    axis.axvline(0, color=plots.GREY, linewidth=1)
    for place, arm in enumerate(arms):
        if arm not in found:
            continue
        mean, low, high, _ = found[arm].difference
        color = colors[arm]
        if not math.isnan(low):
            axis.plot([low, high], [place, place], color=color, linewidth=2)
        axis.plot([mean], [place], color=color, marker="o", markersize=5.5)
    axis.set_yticks(range(len(arms)), arms)
    axis.set_ylim(len(arms) - 0.5, -0.5)  # the first arm on top, as in the table
    axis.grid(axis="y", visible=False)
    axis.xaxis.set_major_locator(MaxNLocator(6))  # more would touch where numbers are long
    axis.set_xlabel(f"difference ({key.unit})" if key.unit else "difference")


def _tolerated(row: Row) -> tuple[float, float]:
    """From where to where the arm's difference is no harm, nothing of it on the better side."""
    low, high = bounds(row.key.metric, row.tolerance)
    return (low if math.isfinite(low) else 0.0), (high if math.isfinite(high) else 0.0)


def _line(curve: Curve, color: str) -> plots.Line:
    generations, intervals = list(curve.values), list(curve.values.values())
    band = [each.low for each in intervals], [each.high for each in intervals]
    measured = not any(math.isnan(low) for low in band[0])
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
