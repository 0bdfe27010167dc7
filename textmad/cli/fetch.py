"""`textmad fetch`: download a pretrained model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import at_home
from textmad.cli.terminal import session


class Fetchable(StrEnum):
    """A model that `textmad fetch` knows how to get."""

    SMOLLM2 = "smollm2"


def fetch(
    model: Annotated[Fetchable, typer.Argument(help="Model to download.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", callback=at_home, help="Folder (default: models/smollm2)."),
    ] = None,
) -> None:
    """Download a pretrained model for `model.base`."""
    from textmad.base_models import smollm2

    folder = out or Path("models", model.value)
    if not smollm2.fetch(folder, session.progress()):
        print(f"{folder}: is already complete")
    print(f"model.base: {folder}")
