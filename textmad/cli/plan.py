"""`textmad plan`: validate a recipe or a study, and estimate what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import Set, load
from textmad.errors import RecipeError


def plan(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe or a study, in YAML.")],
    set_: Set = None,
) -> None:
    """Say all that can be known before spending.

    Faults, stages, tokens, disk, time.
    """
    from textmad import studies

    if studies.is_study(recipe):
        if set_:
            raise RecipeError("--set: is for recipes; change the study file")
        study = studies.load_study(recipe)
        from textmad.planning import make_study_plan

        print(make_study_plan(study).to_text())
        return
    loaded, _ = load(recipe, set_)
    from textmad.planning import make_plan

    print(make_plan(loaded).to_text())
