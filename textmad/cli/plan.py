"""`textmad plan`: validate a recipe or a study, and estimate what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.options import Set, at_home, load, read_overrides
from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.studies import Study


def plan(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", callback=at_home, help="Recipe or study, in YAML."),
    ],
    set_: Set = None,
    pilot: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=at_home,
            help="Folder of a small study with the same arms; prints how many seeds each "
            "hypothesis needs.",
        ),
    ] = None,
) -> None:
    """Check a recipe or study, and estimate tokens, disk and time before running it."""
    from textmad import studies

    if studies.is_study(recipe):
        study = studies.load_study(recipe, read_overrides(set_))
        _plan_study(study, recipe, pilot)
        return
    if pilot is not None:
        raise RecipeError(f"--pilot {pilot}: {recipe} is a recipe: expected a study")
    loaded, _ = load(recipe, set_)
    from textmad.planning import make_plan

    make_plan(loaded, tell=lambda line: print(line, flush=True))


def _plan_study(study: Study, path: Path, pilot: Path | None) -> None:
    from textmad.planning import make_study_plan

    if pilot is None:
        print(make_study_plan(study).to_text())
        return
    if not study.hypotheses:
        raise RecipeError(f"--pilot {pilot}: {path} has no hypotheses: expected some in the study")
    from textmad.analysis.pilots import power_by_pilot
    from textmad.report.seeds_needed import power_table
    from textmad.report.tables import show

    powers, notes = power_by_pilot(study, pilot)
    made = make_study_plan(study)
    print(made.to_text(), end="\n\n")
    show(power_table(powers, made, notes))
