"""`textmad report`: write the HTML page of one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.options import at_home
from textmad.errors import RunError

if TYPE_CHECKING:
    from textmad.loop.run import Run


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            callback=at_home,
            help="Run folders; of a study's folder, one run of each arm.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=at_home,
            help="Output file (default: report.html in the first folder).",
        ),
    ] = None,
) -> None:
    """Write one HTML page about one run or several."""
    from textmad.loop.run import Run
    from textmad.report import print_table, write_report
    from textmad.studies.folder import RUNS

    runs: list[Run] = []
    for folder in folders:
        is_study = (folder / RUNS).is_dir() and not (folder / "recipe.yaml").exists()
        runs += _one_of_each_arm(folder) if is_study else [Run(folder)]
    if out is None and runs[0].path != folders[0]:
        out = folders[0] / "report.html"
    page = write_report(runs, out)
    for opened in runs:
        if len(runs) > 1:
            print(opened.path)
        print_table(opened)
    print(f"report: {page}")


def _one_of_each_arm(folder: Path) -> list[Run]:
    """Return the run of the lowest seed of each arm in which a generation is complete."""
    from textmad.loop.run import Run
    from textmad.studies.folder import RUNS

    chosen: dict[Path, Run] = {}
    for path in folder.glob(f"{RUNS}/*/seed-*/recipe.yaml"):
        run = Run(path.parent)
        seed = run.recipe.seed
        arm = path.parent.parent
        if run.generations and (arm not in chosen or seed < chosen[arm].recipe.seed):
            chosen[arm] = run
    if not chosen:
        raise RunError(f"{folder}: no run of this study has a complete generation yet")
    return [chosen[arm] for arm in sorted(chosen)]
