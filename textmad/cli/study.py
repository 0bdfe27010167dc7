"""`textmad study`: run the arms and seeds of a study, or write a script that does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import Jobs, at_home, check_source, read_overrides
from textmad.cli.terminal import session
from textmad.errors import RecipeError


class Engine(StrEnum):
    """Where `textmad study` computes its runs."""

    LOCAL = "local"
    RAY = "ray"


class Scheduler(StrEnum):
    """A cluster's scheduler that `textmad study` writes a script for."""

    SLURM = "slurm"


def study(
    study: Annotated[Path, typer.Argument(metavar="STUDY", callback=at_home, help="YAML file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", callback=at_home, help="Study folder.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Override a setting of the study, e.g. seeds=[0] or recipe.generations=1; "
            "repeatable.",
        ),
    ] = None,
    jobs: Jobs = 1,
    engine: Annotated[Engine, typer.Option(help="Where the runs are computed.")] = Engine.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of a Ray cluster, or auto (default: start Ray on this machine).",
        ),
    ] = None,
    emit: Annotated[
        Scheduler | None,
        typer.Option(help="Run nothing; print an array script for the runs that are left."),
    ] = None,
) -> None:
    """Run all arms, seeds and controls of a study, or resume it where it was interrupted."""
    from textmad import studies
    from textmad.studies.folder import summary

    if emit is not None:
        for option, is_given in (
            (f"--jobs {jobs}", jobs > 1),
            (f"--engine {engine}", engine != Engine.LOCAL),
            (f"--address {address}", address is not None),
        ):
            if is_given:
                raise RecipeError(f"{option}: a script has a task for each run; leave it out")
    loaded = studies.load_study(study, read_overrides(set_))
    if emit is not None:
        script, runs = studies.emit_slurm(loaded, out, session.tell)
        print(script, end="")
        session.tell(f"the script runs the {len(runs)} runs that are left; give it to sbatch")
        return
    for arm in loaded.arms:
        check_source(arm.recipe)
    session.log_into(out)
    studies.study(
        loaded,
        out,
        jobs=jobs,
        engine=engine.value,
        address=address,
        progress=session.progress(),
        tell=session.tell,
        at_end=lambda runs: print(summary(runs, out), flush=True),
    )
