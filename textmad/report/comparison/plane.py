"""The plane of quality and diversity: its figure, its sentences and its table."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

from textmad.analysis.comparison_result import Comparison
from textmad.analysis.quality_diversity import Plane, PlanePath
from textmad.report import plots
from textmad.report.numbers import MISSING, show_difference, show_number
from textmad.report.tables import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_READING = (
    "Each arm from generation to generation, means over seeds; the last generation is the filled "
    "mark. Dashed: the untuned model at each temperature. An arm has gained something only where "
    "it is on the better side of that curve."
)


def plane_figures(comparison: Comparison) -> list[plots.Figure]:
    """Draw a figure for each measure of quality."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    figures = []
    for number, plane in enumerate(comparison.planes):
        with rc_context(plots.STYLE):
            canvas = Canvas(figsize=(6.4, 4.2))
            _draw(canvas.subplots(), plane)
            canvas.tight_layout()
            svg = plots.to_svg(canvas, f"plane-{number}")
        heading = f"{plane.quality.label} against {plane.diversity.label}"
        figures.append(plots.Figure(heading, _READING, svg))
    return figures


def _draw(axis: Axes, plane: Plane) -> None:
    sweep = sorted(plane.sweep.items())
    axis.plot(
        [point[0] for _, point in sweep],
        [point[1] for _, point in sweep],
        color=plots.GREY,
        linestyle="--",
        marker="s",
        markersize=4,
        label="untuned, by temperature",
    )
    for temperature, point in sweep:
        axis.annotate(f"{temperature:g}", point, xytext=(4, 4), textcoords="offset points")
    colors = cycle((plots.ORANGE, plots.BLUE, plots.GREEN, plots.PURPLE, plots.YELLOW))
    for path in plane.paths:
        x, y = zip(*path.points.values(), strict=True)
        color = next(colors)
        axis.plot(x, y, color=color, marker=".", markersize=5, linewidth=1.4, label=path.arm)
        axis.plot(x[-1:], y[-1:], color=color, marker="o", markersize=7)
    if plane.human is not None:
        axis.plot(*plane.human, color=plots.GREY, marker="*", markersize=12, linestyle="none",
                  label="human text")  # fmt: skip
    axis.set_xlabel(plane.diversity.label)
    axis.set_ylabel(plane.quality.label)
    axis.legend(fontsize=8, frameon=False)


def plane_sentences(comparison: Comparison) -> list[str]:
    """Say which arms are above the curve of the untuned model, where higher is better."""
    sentences = []
    for plane in comparison.planes:
        if plane.quality.direction != "higher":
            continue
        above = [path.arm for path in plane.paths if _is_above(path)]
        sentences.append(
            f"{plane.quality.label}: supported to be above the untuned model at the temperature of "
            f"equal diversity ({plane.diversity.label}), at generation {plane.generation}: "
            f"{', '.join(above) or 'no arm'}."
        )
    return sentences


def _is_above(path: PlanePath) -> bool:
    """Whether the interval of an arm lies above the curve; needs two seeds."""
    return path.above is not None and path.above.n > 1 and path.above.low > 0


def plane_table(comparison: Comparison) -> Table:
    """Return a line for each arm and measure of quality."""
    lines = []
    for plane in comparison.planes:
        for path in plane.paths:
            x, y = path.points[max(path.points)]
            above = MISSING if path.above is None else show_difference(path.above)
            not_reached = ", ".join(map(str, path.not_reached))
            lines.append(
                (plane.quality.label, path.arm, show_number(x), show_number(y), above, not_reached)
            )
    return Table(
        ("quality", "arm", "diversity", "quality there", "above untuned", "not reached"),
        tuple(lines),
        (
            f"At generation {comparison.planes[0].generation}; diversity: "
            f"{comparison.planes[0].diversity.label}. above untuned: quality less that of the "
            "untuned model at the temperature of equal diversity, linear between temperatures, "
            "mean over seeds [95 % interval]. not reached: seeds whose diversity no temperature "
            "of the sweep has.",
        ),
    )


def plane_frame(comparison: Comparison) -> pd.DataFrame:
    """Return all points and distances as numbers."""
    import pandas as pd

    rows = []
    for plane in comparison.planes:
        common = {"quality": plane.quality.short, "diversity": plane.diversity.short}
        rows += [
            {**common, "arm": "untuned", "temperature": t, "generation": 0, "x": x, "y": y}
            for t, (x, y) in plane.sweep.items()
        ]
        for path in plane.paths:
            for generation, (x, y) in path.points.items():
                row = {**common, "arm": path.arm, "generation": generation, "x": x, "y": y}
                if generation == plane.generation and path.above is not None:
                    row |= {
                        "above": path.above.estimate,
                        "above_low": path.above.low,
                        "above_high": path.above.high,
                        "seeds": path.above.n,
                    }
                rows.append(row)
    columns = (
        *("quality", "diversity", "arm", "temperature", "generation", "x", "y"),
        *("above", "above_low", "above_high", "seeds"),
    )
    return pd.DataFrame(rows, columns=list(columns))
