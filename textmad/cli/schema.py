"""`textmad schema`: print the JSON Schema of recipes or studies."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Schema(StrEnum):
    """A kind of file that has a schema."""

    RECIPE = "recipe"
    STUDY = "study"


def schema(
    kind: Annotated[Schema, typer.Argument(help="Kind of file.")] = Schema.RECIPE,
) -> None:
    """Print the JSON Schema of a recipe or a study, by which editors complete and check it.

    An editor with yaml-language-server reads it by the first line that `textmad init` writes.
    """
    from textmad.recipe import Recipe
    from textmad.recipe.json_schema import schema_text
    from textmad.studies.settings import StudySettings

    print(schema_text(Recipe if kind is Schema.RECIPE else StudySettings), end="")
