"""`textmad export`: write a generation's model as an ordinary model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import Generation, Member, RunPath, at_home


def export(
    folder: RunPath,
    generation: Generation,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", callback=at_home, help="New or empty folder.")
    ],
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Merge the adapter into whole weights, and write a card."),
    ] = False,
    member: Member = None,
) -> None:
    """Write the model of a generation as a folder that transformers and peft open."""
    from textmad.loop.run import Run

    Run(folder, member).export(generation, out, merge=merge)
    print(f"exported: {out}")
