"""`textmad run`: run a recipe, or go on where it was interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import RecipePath, Set, load


def run(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run folder.")],
    set_: Set = None,
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="Fail unless exactly N processes run.")
    ] = None,
) -> None:
    """Run a recipe, or go on where it was interrupted."""
    loaded, overrides = load(recipe, set_)
    from textmad.loop import recursion
    from textmad.progress import SilentProgress, make_progress

    main = os.environ.get("RANK", "0") == "0"
    finished = recursion.run(
        loaded,
        out,
        progress=make_progress() if main else SilentProgress(),
        num_processes=processes,
        overrides=overrides,
    )
    if main:
        from textmad.report import print_table, write_report

        page = write_report([finished])
        print_table(finished)
        print(f"report: {page}")
