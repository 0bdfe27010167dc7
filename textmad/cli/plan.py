"""`textmad plan`: validate a recipe or a study, and estimate what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import Set, at_home, load, read_overrides


def plan(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", callback=at_home, help="Recipe or study, in YAML."),
    ],
    set_: Set = None,
) -> None:
    """Check a recipe or study, and estimate tokens, disk and time before running it."""
    from textmad import studies

    if studies.is_study(recipe):
        study = studies.load_study(recipe, read_overrides(set_))
        from textmad.planning import make_study_plan

        print(make_study_plan(study).to_text())
        return
    loaded, _ = load(recipe, set_)
    from textmad.planning import make_plan

    make_plan(loaded, tell=lambda line: print(line, flush=True))
