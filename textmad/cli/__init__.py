"""The command line. Each command has a module; `main` turns errors into exit codes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from textmad.cli import (
    audit,
    calibrate,
    compare,
    evaluate,
    export,
    fetch,
    fit_crowd,
    forecast,
    init,
    plan,
    rate,
    recipes,
    report,
    run,
    sample,
    schema,
    share,
    show,
    study,
    votes,
)
from textmad.cli.options import with_verbosity
from textmad.cli.terminal import is_first_process, session, speaking
from textmad.errors import RunError, TextmadError, disk_error
from textmad.threads import limit_spinning
from textmad.version import __version__

_OTHERS_WAIT = 5.0  # seconds
_HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # half of the time that --help takes
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"textmad {__version__}")
        raise typer.Exit


@app.callback()
def _textmad(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train language models on their own output, and measure what happens to the text."""


for _command in (
    init.init,
    recipes.recipes,
    plan.plan,
    run.run,
    study.study,
    show.show,
    rate.rate,
    votes.votes,
    fit_crowd.fit_crowd,
    evaluate.evaluate,
    sample.sample,
    export.export,
    share.share,
    report.report,
    compare.compare,
    forecast.forecast,
    audit.audit,
    calibrate.calibrate,
    fetch.fetch,
    schema.schema,
):
    app.command(context_settings=_HELP)(with_verbosity(_command))


def main() -> None:
    """Run the command line; the exit codes are those of `textmad.errors`, 130 and 143."""
    limit_spinning()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.unraisablehook = _ignore_swallowed_stops
    with speaking():
        try:
            app()
        except TextmadError as error:
            if session.is_verbose:
                _say_traceback(error)
            _say(str(error))
            sys.exit(error.exit_code)
        except OSError as error:
            if disk_error(error) is None:
                raise
            if session.is_verbose:
                _say_traceback(error)
            _say(f"{error}: check the disk, and what you may do there; then give the same command")
            sys.exit(RunError.exit_code)
        except _Stopped as stopped:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _say("interrupted" + _how_to_go_on(sys.argv[1:]))
            sys.exit(128 + stopped.args[0])


def _how_to_go_on(arguments: Sequence[str]) -> str:
    """Return what the same command would do again: only what has a folder of its own resumes."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if command in ("run", "study", "evaluate") or (
        command == "calibrate" and any(word.startswith("--out") for word in arguments)
    ):
        return "; the same command resumes from here"
    return "; the same command starts again"


def _say_traceback(error: Exception) -> None:
    import traceback

    for line in traceback.format_exception(error):
        session.say(line.rstrip("\n"))


def _say(message: str) -> None:
    """Print the closing message, once: what all processes say the first of them says.

    The others wait until torchrun, which stops all as soon as one has failed, has ended
    them. A process that is still running has an error of its own.
    """
    if not _speaks():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        time.sleep(_OTHERS_WAIT)
        message = f"process {os.environ['RANK']}: {message}"
    session.say(f"textmad: {message}")


def _speaks() -> bool:
    try:
        return is_first_process()
    except TextmadError:  # which is what is to be said
        return True


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
