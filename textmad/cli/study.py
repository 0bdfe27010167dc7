"""`textmad study`: run the arms and seeds of a study, or write a script that does."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import Jobs
from textmad.errors import RecipeError


class Engine(StrEnum):
    """Where `textmad study` computes its runs."""

    LOCAL = "local"
    RAY = "ray"


class Scheduler(StrEnum):
    """A cluster's scheduler that `textmad study` writes a script for."""

    SLURM = "slurm"


def study(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study, in YAML.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.")],
    jobs: Jobs = 1,
    engine: Annotated[Engine, typer.Option(help="Where the runs are computed.")] = Engine.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Of a Ray cluster, or auto; else one is started."),
    ] = None,
    emit: Annotated[
        Scheduler | None,
        typer.Option(help="Run nothing: print an array script of the runs that are left."),
    ] = None,
) -> None:
    """Run the arms and seeds of a study with their controls, or go on where it was interrupted."""
    from textmad import studies
    from textmad.progress import make_progress
    from textmad.studies.folder import summary

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if emit is not None:
        for option, is_given in (
            (f"--jobs {jobs}", jobs > 1),
            (f"--engine {engine}", engine != Engine.LOCAL),
            (f"--address {address}", address is not None),
        ):
            if is_given:
                raise RecipeError(f"{option}: a script has a task for each run; leave it out")
        script, runs = studies.emit_slurm(studies.load_study(study), out, tell)
        print(script, end="")
        tell(f"{len(runs)} runs are left to the script, which is for sbatch")
        return
    studies.study(
        studies.load_study(study),
        out,
        jobs=jobs,
        engine=engine.value,
        address=address,
        progress=make_progress(),
        tell=tell,
        at_end=lambda runs: print(summary(runs, out), flush=True),
    )
