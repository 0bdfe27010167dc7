"""`textmad compare`: compare arms with a control across seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="A study's folder, or run folders.")
    ],
    control: Annotated[
        str | None,
        typer.Option(metavar="ARM", help="An arm, or a run of it; the human-only one."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="METRIC, METRIC/SPLIT or METRIC/SPLIT/BIN; repeatable."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the control's value; what is no harm yet."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write comparison.md, .csv, .html, ... here.")
    ] = None,
) -> None:
    """Set arms against a control, over seeds.

    Differences with intervals, whether they are shown, since when.
    """
    from textmad.analysis.comparing import compare as set_against
    from textmad.report.comparison.page import print_comparison, write_comparison

    found = set_against(folders, control=control, metrics=metric or (), tolerance=tolerance)
    print_comparison(found)
    if out is not None:
        for path in write_comparison(found, out):
            print(f"comparison: {path}")
