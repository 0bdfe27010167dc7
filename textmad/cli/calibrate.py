"""`textmad calibrate`: check the loop against models whose collapse is known exactly."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from textmad.cli.options import Jobs, at_home
from textmad.cli.terminal import session
from textmad.errors import temporary_files


def calibrate(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", callback=at_home, help="Keep the runs here (default: delete them)."
        ),
    ] = None,
    jobs: Jobs = 2,
) -> None:
    """Check the loop against models whose collapse is known exactly.

    The exit code is 1 if a result differs from theory.
    """
    from textmad import calibration

    with temporary_files():
        place = nullcontext(out) if out else TemporaryDirectory(prefix="textmad-calibrate-")
    with place as folder:
        checks = calibration.calibrate(folder, jobs=jobs, tell=session.tell)
    print(calibration.table(checks))
    print(calibration.summary(checks))
    raise typer.Exit(int(any(check.verdict != "agrees" for check in checks)))
