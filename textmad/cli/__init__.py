"""The command line. Each command has a module; `main` turns errors into exit codes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

import typer

from textmad.cli import audit, calibrate, compare, fetch, plan, report, run, study
from textmad.errors import TextmadError

_OTHERS_WAIT = 5.0  # seconds

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # half of the time that --help takes
    pretty_exceptions_enable=False,
    help="What happens to a language model's text when models learn from their own output.",
)
for _command in (
    plan.plan,
    run.run,
    study.study,
    report.report,
    compare.compare,
    audit.audit,
    calibrate.calibrate,
    fetch.fetch,
):
    app.command()(_command)


def main() -> None:
    """Run the command line; the exit codes are those of `textmad.errors`, 130 and 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.unraisablehook = _ignore_swallowed_stops
    try:
        app()
    except TextmadError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except _Stopped as stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say("interrupted" + _how_to_go_on(sys.argv[1:]))
        sys.exit(128 + stopped.args[0])


def _how_to_go_on(arguments: Sequence[str]) -> str:
    """What the same command would do again: only what has a folder of its own goes on."""
    command = arguments[0] if arguments else ""
    if command in ("run", "study") or (
        command == "calibrate" and any(word.startswith("--out") for word in arguments)
    ):
        return "; the same command goes on from here"
    return "; the same command begins again"


def _say(message: str) -> None:
    """The closing message, once: what all processes say the first of them says.

    The others wait so long that torchrun, which stops all as soon as one has failed, has ended
    them; one that is still there has met with something of its own.
    """
    rank = os.environ.get("RANK", "0")
    if rank != "0":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        time.sleep(_OTHERS_WAIT)
        message = f"process {rank}: {message}"
    print(f"textmad: {message}", file=sys.stderr)


class _Stopped(BaseException):
    """SIGINT or SIGTERM as an exception, so that the lock and temporary folders are given back."""


def _stop(number: int, frame: FrameType | None) -> None:
    # What is raised in a destructor (`datasets.Dataset` has one) is swallowed: so ask again later.
    signal.signal(signal.SIGALRM, lambda _, frame: _stop(number, frame))
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    raise _Stopped(number)


def _ignore_swallowed_stops(unraisable: sys.UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, _Stopped):
        sys.__unraisablehook__(unraisable)
