"""`textmad run`: run a recipe, or resume a run that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import RecipePath, Set, at_home, load
from textmad.cli.terminal import is_first_process, session


def run(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(metavar="DIR", callback=at_home, help="Run folder.")],
    set_: Set = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop with an error unless exactly N processes run."),
    ] = None,
) -> None:
    """Run a recipe, or resume it where it was interrupted."""
    loaded, overrides = load(recipe, set_)
    is_first = is_first_process()
    if is_first:
        session.log_into(out)
    from textmad.loop import recursion

    finished = recursion.run(
        loaded,
        out,
        progress=session.progress(loaded.generations),
        num_processes=processes,
        overrides=overrides,
    )
    if is_first:
        from textmad.report import print_table, write_report

        page = write_report([finished])
        print_table(finished)
        print(f"report: {page}")
