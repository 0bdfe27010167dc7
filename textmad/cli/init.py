"""`textmad init`: write a recipe, a study and a filter to start from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import at_home
from textmad.errors import RunError


class Loop(StrEnum):
    """How human text and model text make a training set: the loops of the literature."""

    REPLACE = "replace"
    AUGMENT = "augment"
    FRESH = "fresh"
    ACCUMULATE = "accumulate"
    SUBSAMPLE = "subsample"


class Question(StrEnum):
    """What a study asks."""

    COLLAPSE = "collapse"
    SELECTION = "selection"
    FILTER = "filter"
    SHARE = "share"
    TEMPERATURE = "temperature"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", callback=at_home, help="New or empty folder.")
    ],
    loop: Annotated[
        Loop,
        typer.Option(
            help="Training set of each generation: replace (the last generation's text alone), "
            "augment (beside the same human text), fresh (beside new human text), accumulate "
            "(all text so far), subsample (a sample of all text so far, at constant size)."
        ),
    ] = Loop.REPLACE,
    question: Annotated[
        Question,
        typer.Option(
            help="Question of the study: collapse (what is lost?), selection (do votes help?), "
            "filter (does my filter help?), share (how much model text is too much?), "
            "temperature (does sharper sampling harm?)."
        ),
    ] = Question.SELECTION,
) -> None:
    """Write a commented recipe, a study and a filter to start from."""
    from textmad.cli import starters

    files = starters.files(loop.value, question.value)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if existing := sorted(name for name in files if (folder / name).exists()):
            raise RunError(
                f"{folder}: {existing[0]} exists already: expected a new or empty folder; choose "
                "another, or delete the file"
            )
        for name, text in files.items():
            with open(folder / name, "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    for name in files:
        print(folder / name)
    print("Next:")
    print(f"    cd {folder}")
    print("    textmad plan recipe.yaml")
    print("    textmad run recipe.yaml --out runs/first")
    print("    textmad study study.yaml --out runs/study")
