"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.recipe import Recipe

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Lay a value over the recipe; recorded."),
]
Jobs = Annotated[int, typer.Option(metavar="N", min=1, help="Runs side by side, a process each.")]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, in YAML.")]


def load(path: Path, assignments: list[str] | None) -> tuple[Recipe, dict[str, object]]:
    """Load a recipe with `--set` values laid over it; return both."""
    from textmad.recipe import load_recipe
    from textmad.recipe.yaml_text import parse_override

    overrides: dict[str, object] = {}
    for text in assignments or []:
        dotted, value = parse_override(text)
        if dotted in overrides:
            raise RecipeError(f"--set {text}: {dotted} is set twice; delete one")
        overrides[dotted] = value
    return load_recipe(path, overrides), overrides
