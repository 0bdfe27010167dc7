"""The threshold curve: differences over the share of model text, and where they leave the bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textmad.evaluators.metrics import bounds
from textmad.report import plots
from textmad.report.comparison import Comparison
from textmad.report.shares import Threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
