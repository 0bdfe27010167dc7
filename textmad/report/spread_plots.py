"""How the perplexity of single documents is spread, generation by generation, in both tails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textmad.analysis.series import series
from textmad.evaluators.perplexity import QUANTILES
from textmad.report import plots
from textmad.report.tables import chosen_generations

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MAX_GENERATIONS = 4  # more lines hide one another
_READING = (
    "Share of drawn documents below a perplexity, stretched at both ends. Bottom left of human "
    "text: documents that are too likely. Top right of it: documents that the base model finds "
    "odd. Of a hundred documents each end is one or two."
)


def text_perplexity(metrics: Mapping[str, pd.DataFrame]) -> list[plots.Figure]:
    """The cumulative distribution through the measured quantiles; none where no run has any."""
    from matplotlib import rc_context

    panels = [plots.Panel(name, _lines(table)) for name, table in metrics.items()]
    if not any(panel.lines for panel in panels):
        return []
    with rc_context(plots.STYLE):
        canvas, axes = plots.filled(
            panels, x_title="perplexity under the base model", y_title="documents below (%)"
        )
        _scale(axes[0])
        for axis, panel in zip(axes, panels, strict=True):
            if panel.lines:
                # All lines end at one height, so names at their ends would not tell them apart.
                names = [line.label for line in panel.lines]
                axis.legend(
                    axis.lines,
                    names,
                    loc="center left",
                    bbox_to_anchor=(1, 0.5),
                    frameon=False,
                    fontsize=9,
                )
        canvas.tight_layout(w_pad=2.0)
        svg = plots.to_svg(canvas, "spread")
    return [plots.Figure("Perplexity of single documents", _READING, svg)]


def _lines(table: pd.DataFrame) -> list[plots.Line]:
    """Drawn text of the chosen generations, then human text; without what is no number."""
    drawn = [
        (share, series(table, "text_perplexity", "drawn", b)) for b, share in QUANTILES.items()
    ]
    chosen = chosen_generations(sorted({g for _, s in drawn for g in s.values}), _MAX_GENERATIONS)
    lines = []
    for generation, color in zip(chosen, plots.shades(len(chosen)), strict=True):
        points = {share: s.values[generation] for share, s in drawn if generation in s.values}
        x, y = list(points.values()), list(points)
        lines.append(plots.Line(f"gen {generation}", x, y, color))
    human = {share: s.human.value for share, s in drawn if s.human is not None}
    if lines and human:
        x, y = list(human.values()), list(human)
        lines.append(plots.Line("human", x, y, plots.GREY, "", dashed=True))
    return lines


def _scale(axis: Axes) -> None:
    """Logarithmic in perplexity, log odds in shares: of this axis and those that share with it."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    subs = (1, 2, 5) if high / low < 300 else (1,)  # numbers would touch on a longer axis
    axis.xaxis.set_major_locator(LogLocator(subs=subs))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_yscale("logit")
    axis.set_ylim(0.007, 0.993)  # a little beyond the outermost quantiles
    axis.set_yticks(list(QUANTILES.values()), [f"{100 * share:g}" for share in QUANTILES.values()])
    axis.yaxis.set_minor_locator(NullLocator())
