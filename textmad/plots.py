"""Figures of what runs measured, for notebooks and papers: `tm.plots`.

Each function takes one run or several and returns a matplotlib figure with one panel for each
run, on shared axes. A notebook shows the figure; `figure.savefig("curves.svg")` saves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textmad.errors import RunError
from textmad.evaluators.metrics import METRICS
from textmad.loop.run import Run
from textmad.report.page import kept_share as _kept_share
from textmad.report.page import run_names
from textmad.report.plots import (
    STYLE,
    Panel,
    kept_panels,
    labelled,
    lines_of_metric,
    loss_panels,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["kept_share", "metric_curves", "training_loss"]

Runs = Run | Sequence[Run] | Mapping[str, Run]  # a mapping gives the runs' names


def metric_curves(runs: Runs, metric: str, *, bin: str = "") -> Figure:
    """Draw a metric by generation and return the figure, with one panel for each run.

    Every split that was measured has its line: held-out text, sampled text, kept text. The dashed
    line is the same metric on human text of the same size.

        figure = tm.plots.metric_curves([plain, voted], "distinct_2")
        figure.savefig("distinct_2.svg")

    Args:
        runs: one run, several, or a mapping from the names in the figure to runs.
        metric: a name in the column `metric` of `run.metrics`.
        bin: a name in the column `bin`, for a metric that is measured by bin.

    Raises:
        RunError: no run has a value of the metric, or a run is given twice.
    """
    named = _named(runs)
    tables = {name: run.metrics for name, run in named.items()}
    panels = [Panel(name, lines_of_metric(table, metric, bin)) for name, table in tables.items()]
    if not any(panel.lines for panel in panels):
        raise RunError(_not_measured(named, tables, metric, bin))
    return _figure(panels, _y_title(metric))


def kept_share(runs: Runs) -> Figure:
    """Draw which share of the candidates the filters kept, by generation; return the figure.

    Args:
        runs: as in `metric_curves`.

    Raises:
        RunError: a run is given twice, or has no complete generation.
    """
    named = _named(runs)
    shares = {
        name: {g: _kept_share(run, g) for g in run.generations} for name, run in named.items()
    }
    return _figure(kept_panels(shares), "documents kept (%)", y_limits=(0, 105))


def training_loss(runs: Runs) -> Figure:
    """Draw the training loss of each generation over the tokens seen, in nats per token.

    Of more than six generations, six are drawn, the first and the last among them.

    Args:
        runs: as in `metric_curves`.

    Raises:
        RunError: a run is given twice, or has no complete generation.
    """
    named = _named(runs)
    curves = {name: {g: run.curve(g) for g in run.generations} for name, run in named.items()}
    return _figure(loss_panels(curves), "loss (nats/token)", x_title="tokens seen")


def _named(runs: Runs) -> dict[str, Run]:
    """The runs by the names that stand above their panels."""
    if isinstance(runs, Mapping):
        named = dict(runs)
    else:
        listed = [runs] if isinstance(runs, Run) else list(runs)
        named = dict(zip(run_names(listed), listed, strict=True)) if listed else {}
    if not named:
        raise RunError("a figure needs at least one run: the list of runs is empty")
    for run in named.values():
        if not run.generations:
            raise RunError(
                f"{run.path}: no generation is complete: expected at least generation 0; the "
                "command that began the run resumes it"
            )
    return named


def _not_measured(
    named: Mapping[str, Run], tables: Mapping[str, pd.DataFrame], metric: str, bin: str
) -> str:
    """What a message says of a metric that no run has a value of."""
    where = ", ".join(str(run.path) for run in named.values())
    rows = [table[table["metric"] == metric] for table in tables.values()]
    bins = sorted({name for each in rows for name in each["bin"]})
    if bins and bins != [bin]:
        expected = f"expected as bin one of {', '.join(map(repr, bins))}"
        return f"{where}: metric {metric!r} has no value in bin {bin!r}: {expected}"
    if bins:
        notes = sorted({note for each in rows for note in each["note"] if note})
        return f"{where}: metric {metric!r} has no finite value: {'; '.join(notes) or 'no note'}"
    metrics = sorted({name for table in tables.values() for name in table["metric"]})
    return f"{where}: no metric {metric!r} was measured: expected one of {', '.join(metrics)}"


def _y_title(metric: str) -> str:
    known = METRICS.get(metric)
    if known is None:
        return metric
    return f"{known.label} ({known.unit})" if known.unit else known.label


def _figure(
    panels: Sequence[Panel],
    y_title: str,
    *,
    x_title: str = "generation",
    y_limits: tuple[float, float] | None = None,
) -> Figure:
    from matplotlib import pyplot, rc_context

    # A notebook can show a figure only after the backend is loaded, which pyplot does at its first
    # own figure. This figure is none of pyplot's, so that a notebook does not show it twice.
    pyplot.switch_backend(pyplot.get_backend())
    with rc_context(STYLE):
        return labelled(panels, x_title=x_title, y_title=y_title, y_limits=y_limits)
