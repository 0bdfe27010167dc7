"""`textmad calibrate`: check the loop against models whose collapse is known exactly."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from textmad.cli.options import Jobs


def calibrate(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the runs here; else they are deleted at the end."),
    ] = None,
    jobs: Jobs = 2,
) -> None:
    """Check the loop against models whose collapse is known exactly.

    Exit code 1 when one comes out otherwise.
    """
    from textmad import calibration

    with nullcontext(out) if out else TemporaryDirectory(prefix="textmad-calibrate-") as folder:
        checks = calibration.calibrate(
            folder, jobs=jobs, tell=lambda line: print(line, file=sys.stderr, flush=True)
        )
    print(calibration.table(checks))
    print(calibration.summary(checks))
    raise typer.Exit(int(any(check.verdict != "agrees" for check in checks)))
