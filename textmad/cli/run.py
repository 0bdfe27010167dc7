"""`textmad run`: run a recipe, or resume a run that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import RecipePath, Set, at_home, check_source, load
from textmad.cli.serving import Port, serve_until_enough
from textmad.cli.terminal import is_first_process, session
from textmad.errors import RecipeError, WaitingForVotesError


def run(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(metavar="DIR", callback=at_home, help="Run folder.")],
    set_: Set = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop with an error unless exactly N processes run."),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Serve the page for people's votes, and go on by itself."),
    ] = False,
    port: Port = 8765,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=at_home,
            envvar="TEXTMAD_CACHE",
            help="Folder in which runs share what depends on base model and human text alone.",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Of a population: compute N members at a time."),
    ] = 1,
) -> None:
    """Run a recipe, or resume it where it was interrupted."""
    if port != 8765 and not serve:
        raise RecipeError(f"--port {port}: has no effect without --serve")
    loaded, overrides = load(recipe, set_)
    check_source(loaded)
    is_first = is_first_process()
    if is_first:
        session.log_into(out)
    from textmad.loop import recursion

    while True:
        try:
            finished = recursion.run(
                loaded,
                out,
                progress=session.progress(loaded.generations),
                num_processes=processes,
                overrides=overrides,
                jobs=jobs,
                cache=cache,
            )
            break
        except WaitingForVotesError as waiting:
            if not serve:
                raise
            session.say(f"textmad: {waiting}")
            serve_until_enough(out, port)
    if is_first:
        from textmad.report import print_table, write_report

        page = write_report([finished])
        print_table(finished)
        print(f"report: {page}")
