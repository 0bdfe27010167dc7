"""`textmad fetch`: download a pretrained model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Fetchable(StrEnum):
    """A model that `textmad fetch` knows how to get."""

    SMOLLM2 = "smollm2"


def fetch(
    model: Annotated[Fetchable, typer.Argument(help="Which one.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to; models/smollm2.")
    ] = None,
) -> None:
    """Download a pretrained model for `model.base`."""
    from textmad.base_models import smollm2
    from textmad.progress import make_progress

    folder = out or Path("models", model.value)
    if not smollm2.fetch(folder, make_progress()):
        print(f"{folder}: is there already, whole")
    print(f"model.base: {folder}")
