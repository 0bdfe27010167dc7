"""Inbreeding and the generation number as predictors of diversity: sentences, table, figure."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from textmad.analysis.comparison_result import Comparison
from textmad.analysis.populations import Inbreeding
from textmad.evaluators.metrics import METRICS
from textmad.report import plots
from textmad.report.numbers import MISSING
from textmad.report.tables import Table
from textmad.statistics.inference import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = (plots.ORANGE, plots.BLUE, plots.GREEN, plots.PURPLE, plots.YELLOW, plots.GREY)


def inbreeding_sentences(comparison: Comparison) -> list[str]:
    """Return for each metric whether F or the generation explains more of its change."""
    return [_sentence(each) for each in comparison.inbreeding]


def _sentence(each: Inbreeding) -> str:
    found = each.explained
    said = (
        f"{METRICS[each.metric].label} of sampled text: a line over the inbreeding coefficient F "
        f"explains {_percent(found.one)} of the variance of its change since generation 0, a line "
        f"over the generation {_percent(found.other)}"
    )
    said += f" ({found.num_rows:,} members in {found.one.n} runs). "
    if math.isnan(found.difference.low):
        return said + "Which of them explains more is not tested: that takes two runs of each arm."
    by = f"the difference is {_points(found.difference)}"
    if found.difference.low > 0:
        return said + f"F is the better predictor: {by}."
    if found.difference.high < 0:
        return said + f"The generation is the better predictor: {by}."
    return said + f"Which of them is the better predictor is not supported: {by}."


def inbreeding_table(comparison: Comparison) -> Table:
    """Return a line for each metric: the shares of variance that each predictor explains."""
    header = (
        "metric",
        "F",
        "generation",
        "generation, any curve",
        "F given generation",
        "generation given F",
        "F less generation",
    )
    lines = [
        (
            METRICS[each.metric].label,
            *(_percent(share) for share in each.explained[:5]),
            _points(each.explained.difference),
        )
        for each in comparison.inbreeding
    ]
    notes = (
        "Share of the variance of a member's value less the mean of its run's generation 0, over "
        "all members, generations, runs and arms with a population, [95 % interval over runs "
        "within arms]. F and generation: R² of a straight line. Any curve: the share that lies "
        "between generations. Given: of what the other one leaves, squared partial correlation; "
        f"{MISSING} where one follows from the other. F and the generation rise together in each "
        "arm, so arms of different kinship tell them apart.",
    )
    return Table(header, tuple(lines), notes)


def inbreeding_figure(comparison: Comparison) -> plots.Figure:
    """Draw the change of the first metric of each member over F, and over the generation."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    each = comparison.inbreeding[0]
    label = METRICS[each.metric].label
    with rc_context(plots.STYLE):
        canvas = Canvas(figsize=(10.4, 3.6))
        axes = canvas.subplots(1, 2, sharey=True)
        for axis, column, title in zip(
            axes,
            ("inbreeding", "generation"),
            ("inbreeding coefficient F", "generation"),
            strict=True,
        ):
            _scatter(axis, each, column)
            axis.set_xlabel(title)
        axes[0].set_ylabel(f"change of {label[0].lower()}{label[1:]}")
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
        canvas.tight_layout(w_pad=2.0)
        svg = plots.to_svg(canvas, "inbreeding")
    return plots.Figure(
        f"{label} of sampled text over F and over the generation",
        "A point for each member of each run, less the mean of the run's generation 0. The nearer "
        "the points lie to the line, the better the number below predicts them.",
        svg,
    )


def _scatter(axis: Axes, each: Inbreeding, column: str) -> None:
    colors = cycle(_COLORS)
    for arm, rows in each.rows.groupby("arm", sort=False):
        axis.plot(
            rows[column], rows["change"], "o",
            color=next(colors), label=str(arm), markersize=4, alpha=0.65, markeredgewidth=0,
        )  # fmt: skip
    x, y = each.rows[column].to_numpy(float), each.rows["change"].to_numpy(float)
    if np.ptp(x) > 0:
        slope, intercept = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axis.plot(ends, intercept + slope * ends, color=plots.GREY, linewidth=1.4, linestyle="--")


def _percent(share: Interval) -> str:
    """Return a share in percent with its interval.

    >>> _percent(Interval(0.714, 0.5, 0.91, 9)), _percent(Interval(0.5, math.nan, math.nan, 1))
    ('71 % [50, 91]', '50 %')
    """
    if math.isnan(share.estimate):
        return MISSING
    text = f"{100 * share.estimate:.0f} %"
    return (
        text if math.isnan(share.low) else f"{text} [{100 * share.low:.0f}, {100 * share.high:.0f}]"
    )


def _points(difference: Interval) -> str:
    """Return a difference of shares in percentage points with its interval.

    >>> _points(Interval(0.41, 0.2, 0.6, 9)), _points(Interval(-0.1, -0.3, 0.1, 9))
    ('+41 points [+20, +60]', '−10 points [−30, +10]')
    """
    if math.isnan(difference.estimate):
        return MISSING
    text = f"{100 * difference.estimate:+.0f} points"
    if not math.isnan(difference.low):
        text += f" [{100 * difference.low:+.0f}, {100 * difference.high:+.0f}]"
    return text.replace("-", "−")
