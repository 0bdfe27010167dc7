"""`textmad show`: print the state of a run or a study, its table, and where its files are."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.options import at_home
from textmad.cli.terminal import LOG

if TYPE_CHECKING:
    from textmad.loop.run import Run

_LOCK = ".lock"


def show(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", callback=at_home, help="Folder of a run or a study.")
    ],
) -> None:
    """Print the state of a run or a study, its table, and where its files are."""
    from textmad.loop.run import Run
    from textmad.studies.folder import RUNS

    if (folder / RUNS).is_dir() and not (folder / "recipe.yaml").exists():
        _show_study(folder)
    else:
        _show_run(Run(folder))


def _show_run(run: Run) -> None:
    from textmad.report import print_table

    recipe, complete = run.recipe, run.generations
    print(f"run          {run.path}")
    print(f"state        {_state(run)}{_writer(run.path)}")
    print(f"generations  {len(complete)} of {recipe.generations + 1} complete, seed {recipe.seed}")
    print(f"base         {recipe.model.base}, human text {recipe.corpus.source}")
    if complete:
        print()
        print_table(run)
    print()
    _show_files(
        run.path,
        {
            "recipe.yaml": "recipe",
            "report.html": "report",
            "metrics.parquet": "metrics",
            "provenance.json": "provenance",
            LOG: "log",
        },
    )
    for generation in complete[-1:]:
        for each in run.members or (run,):
            print(f"{'model':<12} {each.model_folder(generation)}")


def _show_study(folder: Path) -> None:
    from textmad.loop.run import Run
    from textmad.studies.folder import LOGS, RUNS, STUDY

    runs = [Run(path.parent) for path in sorted(folder.glob(f"{RUNS}/*/seed-*/recipe.yaml"))]
    finished = sum(run.complete for run in runs)
    print(f"study        {folder}{_writer(folder)}")
    print(f"runs         {finished} finished of {len(runs)} begun, of {_planned(folder)} planned")
    print()
    width = max([len(_name(run)) for run in runs], default=0)
    for run in runs:
        wanted = run.recipe.generations + 1
        print(f"{_name(run):<{width}}  {len(run.generations)} of {wanted}  {_state(run)}")
    print()
    _show_files(
        folder,
        {STUDY: "study", "report.html": "report", RUNS: "runs", LOGS: "logs", LOG: "log"},
    )
    if finished:
        print(f"{'compare':<12} textmad compare {folder}")


def _planned(folder: Path) -> int:
    """Return how many runs the study has, begun or not."""
    from textmad.studies.folder import read_record

    record = read_record(folder)
    return len(record["arms"]) * len(record["seeds"])


def _name(run: Run) -> str:
    return f"{run.path.parent.name}/{run.path.name}"


def _state(run: Run) -> str:
    if run.complete:
        return "finished"
    return "begun; the command that began it resumes it" if run.generations else "begun"


def _writer(folder: Path) -> str:
    """Return which process is writing the folder, in words; "" if none is."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"; whether it is being written cannot be seen: {folder / _LOCK}: {error.strerror}"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"; is being written by {os.pread(descriptor, 200, 0).decode(errors='replace')}"
    finally:
        os.close(descriptor)
    return ""


def _show_files(folder: Path, names: dict[str, str]) -> None:
    for name, what in names.items():
        if (folder / name).exists():
            print(f"{what:<12} {folder / name}")
