"""`textmad report`: write the HTML page of one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; the first folder's report.html.")
    ] = None,
) -> None:
    """Write an HTML page about one run or several."""
    from textmad import store
    from textmad.report import print_table, write_report

    runs = [store.Run(folder) for folder in folders]
    page = write_report(runs, out)
    for opened in runs:
        if len(runs) > 1:
            print(opened.path)
        print_table(opened)
    print(f"report: {page}")
