"""`textmad share`: copy a run folder without the paths of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import RunPath, at_home


def share(
    folder: RunPath,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", callback=at_home, help="New or empty folder.")
    ],
) -> None:
    """Copy a run to give to others: without absolute paths, log and report.

    Texts, numbers and models stay. `textmad report` and `compare` read the copy; it does not
    resume.
    """
    from textmad.loop.run import Run
    from textmad.store.pathless import share as share_run

    share_run(Run(folder).path, out)
    print(f"shared: {out}")
