"""The command line. It parses, calls, prints, and turns errors into exit codes; no more."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.errors import TextmadError

if TYPE_CHECKING:
    from textmad.recipe import Recipe

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What happens to a language model's text when models learn from their own output.",
)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Lay a value over the recipe; recorded."),
]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, in YAML.")]


@app.command()
def plan(recipe: RecipePath, set_: Set = None) -> None:
    """All that can be known before spending: faults, stages, tokens, disk, time."""
    from textmad.planning import make_plan

    loaded, _ = _load(recipe, set_)
    print(make_plan(loaded).to_text())


@app.command()
def run(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run folder.")],
    set_: Set = None,
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="Fail unless exactly N processes run.")
    ] = None,
) -> None:
    """Run a recipe; the same command goes on where an interrupted one stopped."""
    loaded, overrides = _load(recipe, set_)
    from textmad import recursion
    from textmad.progress import SilentProgress, make_progress

    main = os.environ.get("RANK", "0") == "0"
    finished = recursion.run(
        loaded,
        out,
        progress=make_progress() if main else SilentProgress(),
        processes=processes,
        overrides=overrides,
    )
    if main:
        from textmad.report import print_table, write_report

        page = write_report([finished])
        print_table(finished)
        print(f"report: {page}")


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; the first folder's report.html.")
    ] = None,
) -> None:
    """Write one self-contained HTML page about one run, or several side by side."""
    from textmad import store
    from textmad.report import print_table, write_report

    runs = [store.Run(folder) for folder in folders]
    for opened in runs:
        print_table(opened)
    print(f"report: {write_report(runs, out)}")


def main() -> None:
    """Run the command line; the exit codes are those of `textmad.errors`, 130 and 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        app()
    except TextmadError as error:
        print(f"textmad: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except _Stopped as stopped:
        print("textmad: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + stopped.args[0])


class _Stopped(BaseException):
    """SIGINT or SIGTERM as an exception, so that the lock and temporary folders are given back."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)


def _load(path: Path, assignments: list[str] | None) -> tuple[Recipe, dict[str, object]]:
    from textmad.recipe import load_recipe, parse_override

    overrides = dict(parse_override(text) for text in assignments or [])
    return load_recipe(path, overrides), overrides
