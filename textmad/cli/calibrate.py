"""`textmad calibrate`: check the loop against models whose collapse is known exactly."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.options import Jobs, at_home
from textmad.cli.terminal import session
from textmad.errors import temporary_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textmad.calibration import Check


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
    _show(checks)
    print(calibration.summary(checks))
    raise typer.Exit(int(any(check.verdict != "agrees" for check in checks)))


def _show(checks: Sequence[Check]) -> None:
    """Print the checks: a table for a terminal, Markdown elsewhere."""
    from textmad import calibration

    if not sys.stdout.isatty():
        print(calibration.table(checks))
        return
    from rich.console import Console

    from textmad.report import Table, to_rich

    Console().print(to_rich(Table(calibration.TITLES, tuple(map(calibration.cells, checks)), ())))
