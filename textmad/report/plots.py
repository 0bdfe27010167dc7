"""The curves of a report as SVG: one panel for each run on one scale, labelled directly.

Every figure is deterministic (no date, salted ids that do not depend on the process) and leaves
its text and axes in `currentColor`, so that the page decides between light and dark.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textmad.analysis.series import REFERENCES, Reference, Series, series
from textmad.report.numbers import show_number
from textmad.report.tables import chosen_generations

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe and Ito's colours, shifted to a lightness that reads on white and on near-black.
BLUE, ORANGE, GREEN, GREY = "#2f7fc1", "#d4622a", "#2a9d78", "#808080"
PURPLE, YELLOW = "#b0609a", "#a98600"
_INK = "#010203"  # stands for currentColor until the SVG is text
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "textmad",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,  # a run may be called $x$
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.18,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
}


@dataclass(frozen=True)
class Line:
    """One labelled line of a panel; `dashed` for a human reference, `band` for an interval."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    marker: str = "o"
    dashed: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None  # lower and upper, as y


@dataclass(frozen=True)
class Panel:
    """What one run puts into a figure; without lines, `missing` says why."""

    title: str
    lines: Sequence[Line]
    missing: str = "not measured"


@dataclass(frozen=True)
class Figure:
    """An SVG with its heading and the sentence that says how to read it."""

    heading: str
    reading: str
    svg: str


def draw(
    name: str,
    panels: Sequence[Panel],
    *,
    x_title: str,
    y_title: str,
    y_limits: tuple[float, float] | None = None,
) -> str:
    """Return the panels as one SVG, on shared axes.

    Args:
        name: prefix of the ids inside, unique in a page.
        panels: one a run.
        x_title: with its unit.
        y_title: with its unit.
        y_limits: where the data's own would mislead.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        return to_svg(labelled(panels, x_title=x_title, y_title=y_title, y_limits=y_limits), name)


def labelled(
    panels: Sequence[Panel],
    *,
    x_title: str,
    y_title: str,
    y_limits: tuple[float, float] | None = None,
) -> Canvas:
    """The panels on shared axes, each line with its label at its end; within `STYLE`."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    canvas, axes = filled(panels, x_title=x_title, y_title=y_title)
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[0].set_ylim(y_limits)
    for axis, panel in zip(axes, panels, strict=True):
        _label_ends(axis, panel.lines)
    canvas.tight_layout(w_pad=2.0)
    return canvas


def filled(panels: Sequence[Panel], *, x_title: str, y_title: str) -> tuple[Canvas, list[Axes]]:
    """Return the panels' lines on shared axes with titles, an axis for each; within `STYLE`."""
    from matplotlib.figure import Figure as Canvas

    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    canvas = Canvas(figsize=((5.6 if columns == 1 else 4.6 * columns), 3.1 * rows))
    axes = list(canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes, panels, strict=False):
        _fill(axis, panel, titled=len(panels) > 1)
        axis.set_xlabel(x_title)
        axis.tick_params(labelbottom=True)  # also above an empty place in the last row
    for axis in axes[::columns]:
        axis.set_ylabel(y_title)
    return canvas, axes[: len(panels)]


def shades(count: int) -> list[str]:
    """Return colours from light to dark, each readable on white and on black."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    viridis = colormaps["viridis"]
    return [to_hex(viridis(0.8 - 0.55 * index / max(1, count - 1))) for index in range(count)]


def perplexity(metrics: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw held-out perplexity by generation."""
    panels = [
        Panel(name, _line("held-out", series(table, "perplexity", "held_out"), BLUE))
        for name, table in metrics.items()
    ]
    return Figure(
        "Perplexity of held-out human text",
        "Lower is better. A rise says that the model forgets how people write.",
        _by_generation("perplexity", panels, "perplexity"),
    )


def rare_against_common(metrics: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the held-out loss on rare and on common tokens, as change since generation 0."""
    panels = []
    for name, table in metrics.items():
        rare, common = (series(table, f"{kind}_loss", "held_out") for kind in ("rare", "common"))
        lines = _change("rare", rare, ORANGE) + _change("common", common, BLUE, "s")
        panels.append(Panel(name, lines))
    return Figure(
        "Rare against common tokens",
        "Change of the held-out loss since generation 0; rare: the rarest tenth of human text. "
        "Tails usually go first.",
        _by_generation("rare", panels, "change of loss (nats/token)"),
    )


def against_human(
    metrics: Mapping[str, pd.DataFrame], metric: str, heading: str, reading: str, y_title: str
) -> Figure:
    """Draw a metric of sampled and kept text beside human text and the base model's samples."""
    panels = [Panel(name, lines_of_text(table, metric)) for name, table in metrics.items()]
    return Figure(heading, reading, _by_generation(metric.replace("_", "-"), panels, y_title))


def by_split(
    metrics: Mapping[str, pd.DataFrame], metric: str, heading: str, y_title: str
) -> Figure:
    """Draw a metric by generation, a line for each split, beside its references."""
    panels = [Panel(name, lines_of_metric(table, metric)) for name, table in metrics.items()]
    return Figure(heading, "", _by_generation(metric.replace("_", "-"), panels, y_title))


def lines_of_metric(table: pd.DataFrame, metric: str, bin: str = "") -> list[Line]:
    """Return the lines of a metric of every split that was measured, and its references."""
    measured = table[(table["metric"] == metric) & (table["bin"] == bin)]["split"].unique()
    others = [split for split in measured if split not in ("drawn", "kept", *REFERENCES)]
    lines = [
        line
        for split in others
        for line in _line(split.replace("_", "-"), series(table, metric, split, bin), ORANGE)
    ]
    return [*lines_of_text(table, metric, bin), *lines]


def lines_of_text(table: pd.DataFrame, metric: str, bin: str = "") -> list[Line]:
    """Return the lines of a metric of sampled and of kept text, and its references.

    These are human text with its interval and the base model's own samples. None if not measured.
    """
    drawn, kept = (series(table, metric, split, bin) for split in ("drawn", "kept"))
    lines = _line("drawn", drawn, BLUE) + _line("kept", kept, GREEN, "s")
    if drawn.values == kept.values:
        lines = _line("drawn = kept", drawn, BLUE)
    span = [x for line in lines for x in line.x]
    if not span:
        return []
    return lines + reference_lines(span, drawn.human, drawn.base)


def reference_lines(
    generations: Sequence[float], human: Reference | None, base: Reference | None
) -> list[Line]:
    """Return a level line of human text with its interval, and one of the base model's samples."""
    lines: list[Line] = []
    if not generations:
        return lines
    ends = [min(generations), max(generations)]
    if human is not None:
        value, low, high = human
        band = None if math.isnan(low) else ([low] * 2, [high] * 2)
        lines.append(Line("human", ends, [value] * 2, GREY, "", dashed=True, band=band))
    if base is not None:
        lines.append(Line("base", ends, [base.value] * 2, _INK, "", dashed=True))
    return lines


def kept_share(shares: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw the share of candidates that the filters kept."""
    return Figure(
        "Kept share",
        "How many of the drawn documents every filter kept; all of them where there is none.",
        _by_generation("kept", kept_panels(shares), "documents kept (%)", (0, 105)),
    )


def kept_panels(shares: Mapping[str, Mapping[int, float]]) -> list[Panel]:
    """A panel a run: the share of candidates that the filters kept, in percent."""
    return [
        Panel(name, [Line("kept", list(share), [100 * y for y in share.values()], GREEN, "s")])
        for name, share in shares.items()
    ]


def training_loss(curves: Mapping[str, Mapping[int, pd.DataFrame]]) -> Figure:
    """Draw the training loss over the tokens of each generation, light to dark."""
    return Figure(
        "Training loss",
        "Each generation on its own training set. Text of a model is easier to predict than text "
        "of people, so a lower curve is no better model.",
        draw("training", loss_panels(curves), x_title="tokens seen", y_title="loss (nats/token)"),
    )


def loss_panels(curves: Mapping[str, Mapping[int, pd.DataFrame]]) -> list[Panel]:
    """A panel a run: the training loss of up to six generations over the tokens seen."""
    panels = []
    for name, by_generation in curves.items():
        chosen = chosen_generations(list(by_generation), at_most=6)
        lines = [
            Line(
                f"gen {generation}",
                by_generation[generation]["tokens"].tolist(),
                by_generation[generation]["loss"].tolist(),
                color,
                marker="",
            )
            for generation, color in zip(chosen, shades(len(chosen)), strict=True)
            if len(by_generation[generation])
        ]
        panels.append(Panel(name, lines, "no training curve"))
    return panels


def _by_generation(
    name: str, panels: Sequence[Panel], y_title: str, y_limits: tuple[float, float] | None = None
) -> str:
    return draw(name, panels, x_title="generation", y_title=y_title, y_limits=y_limits)


def _line(label: str, each: Series, color: str, marker: str = "o") -> list[Line]:
    """The line of a series; none where it was not measured."""
    points = each.values
    return [Line(label, list(points), list(points.values()), color, marker)] if points else []


def _change(label: str, each: Series, color: str, marker: str = "o") -> list[Line]:
    """The same as change since generation 0, which the label names."""
    if each.first is None:
        return []
    moved = {generation: value - each.first for generation, value in each.values.items()}
    label = f"{label} (from {show_number(each.first)})"
    return [Line(label, list(moved), list(moved.values()), color, marker)]


def _fill(axis: Axes, panel: Panel, titled: bool) -> None:
    if titled:
        axis.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
    for line in panel.lines:
        style = {"linestyle": "--", "linewidth": 1.4} if line.dashed else {"linewidth": 1.8}
        marker = line.marker or (
            "o" if len(line.x) == 1 else ""
        )  # a line of one point is invisible
        axis.plot(line.x, line.y, color=line.color, marker=marker, markersize=4.5, **style)
        if line.band is not None:
            axis.fill_between(line.x, *line.band, color=line.color, alpha=0.16, linewidth=0)
    if not panel.lines:
        axis.text(0.5, 0.5, panel.missing, transform=axis.transAxes, ha="center", va="center")


def _label_ends(axis: Axes, lines: Sequence[Line]) -> None:
    """Write each line's label behind its end, apart from one another."""
    low, high = axis.get_ylim()
    gap = 0.085 * (high - low)
    spaced: list[float] = []
    for line in sorted(lines, key=lambda line: line.y[-1]):
        at = line.y[-1] if not spaced else max(line.y[-1], spaced[-1] + gap)
        spaced.append(at)
        axis.annotate(
            line.label,
            xy=(1.0, at),
            xycoords=axis.get_yaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=line.color,
            fontsize=9,
            annotation_clip=False,
        )


def to_svg(canvas: Canvas, name: str) -> str:
    """Return the canvas as SVG for HTML: no prolog, ids of its own, ink in currentColor."""
    out = io.StringIO()
    canvas.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(' id="', f' id="{name}-').replace("url(#", f"url(#{name}-")
    svg = svg.replace('href="#', f'href="#{name}-').replace(_INK, "currentColor")
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', svg, count=1)
