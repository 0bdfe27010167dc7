"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmad.cli.terminal import session
from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.recipe import Recipe


def at_home(value: Any) -> Any:
    """Expand `~/` at the beginning of paths, which shells do not do behind an equals sign."""
    if isinstance(value, list | tuple):
        return [at_home(item) for item in value]
    if value is None or not str(value).startswith("~/"):
        return value
    return type(value)(os.path.expanduser(value))


def with_verbosity(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options `-q` and `-v` beside its own."""

    @functools.wraps(function)
    def command(*, quiet: bool, verbose: bool, **options: Any) -> None:
        session.is_quiet, session.is_verbose = quiet, verbose
        if verbose:
            import logging

            logging.getLogger().setLevel(logging.INFO)
        function(**options)

    def option(name: str, does: str) -> inspect.Parameter:
        annotation = Annotated[bool, typer.Option(f"--{name}", f"-{name[0]}", help=does)]
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, kind, default=False, annotation=annotation)

    own = inspect.signature(function, eval_str=True)
    parameters = [
        *own.parameters.values(),
        option("quiet", "Hide progress; print results and errors only."),
        option("verbose", "Print what libraries log, and the traceback of an error."),
    ]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


Member = Annotated[
    int | None,
    typer.Option(metavar="K", min=0, help="Of a population: the member, from 0."),
]

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
RunPath = Annotated[Path, typer.Argument(metavar="DIR", callback=at_home, help="Run folder.")]
Generation = Annotated[int, typer.Option(metavar="G", min=0, help="Generation, from 0.")]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", callback=at_home, help="YAML file.")]


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


def check_source(recipe: Recipe) -> None:
    """Look for the human text before torch is loaded, which takes seconds.

    Raises:
        CorpusError: it is missing.
    """
    from textmad.corpus import source_format

    source_format(recipe.corpus)
