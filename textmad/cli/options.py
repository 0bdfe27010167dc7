"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from typer.core import TyperCommand

from textmad.cli.terminal import session
from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.recipe import Recipe


def at_home(text: str) -> Path:
    """Return a path with `~/` expanded, which shells do not do behind an equals sign."""
    return Path(os.path.expanduser(text) if text.startswith("~/") else text)


def _quiet(context: click.Context, option: click.Parameter, is_asked: bool) -> None:
    session.is_quiet = session.is_quiet or is_asked


def _verbose(context: click.Context, option: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        import logging

        session.is_verbose = True
        logging.basicConfig(level=logging.INFO)


class Command(TyperCommand):
    """A command with `-q` and `-v`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for letter, name, callback, does in (
            ("-q", "--quiet", _quiet, "Hide progress; print results and errors only."),
            ("-v", "--verbose", _verbose, "Print what libraries log, and tracebacks of errors."),
        ):
            self.params.append(
                click.Option(
                    [letter, name], is_flag=True, expose_value=False, callback=callback, help=does
                )
            )


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a setting of the recipe, e.g. train.epochs=2; repeatable; recorded.",
    ),
]
Jobs = Annotated[
    int, typer.Option(metavar="N", min=1, help="Number of runs at the same time, one process each.")
]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", parser=at_home, help="YAML file.")]


def load(path: Path, assignments: list[str] | None) -> tuple[Recipe, dict[str, object]]:
    """Load a recipe and return it with the values of `--set` that override it."""
    from textmad.recipe import load_recipe

    overrides = read_overrides(assignments)
    return load_recipe(path, overrides), overrides


def read_overrides(assignments: list[str] | None) -> dict[str, object]:
    """Read the values of `--set` and return them by path.

    Raises:
        RecipeError: one is malformed, or a path is set twice.
    """
    from textmad.recipe.yaml_text import parse_override

    overrides: dict[str, object] = {}
    for text in assignments or []:
        dotted, value = parse_override(text)
        if dotted in overrides:
            raise RecipeError(f"--set {text}: {dotted} is set twice; delete one")
        overrides[dotted] = value
    return overrides
