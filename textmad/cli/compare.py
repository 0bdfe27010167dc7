"""`textmad compare`: compare arms with a control across seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import at_home


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", callback=at_home, help="The folder of a study, or run folders."
        ),
    ],
    control: Annotated[
        str | None,
        typer.Option(
            metavar="ARM", help="Arm to compare with, or a run of it (default: human text only)."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="METRIC, METRIC/SPLIT or METRIC/SPLIT/BIN; repeatable (default: all).",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Largest change still counted as harmless, as a share of the control's value.",
        ),
    ] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="Print the verdict only, without the tables.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=at_home,
            help="Folder for comparison.md, .html and tables.",
        ),
    ] = None,
) -> None:
    """Compare arms with a control across seeds.

    Prints the differences with intervals, and which of them are significant.
    """
    from textmad.analysis.compare import compare as compare_arms
    from textmad.report.comparison.page import print_comparison, write_comparison

    comparison = compare_arms(folders, control=control, metrics=metric or (), tolerance=tolerance)
    written = [] if out is None else write_comparison(comparison, out)
    print_comparison(comparison, is_brief=brief)
    for path in written:
        print(f"comparison: {path}")
