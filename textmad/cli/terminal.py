"""What the commands say: results to stdout, progress and errors to stderr, all of it to a log.

Names come from other people's files, so whatever would steer a terminal is written as an escape.
Letters that the terminal's encoding does not have are replaced.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.progress import Progress

LOG = "log.txt"

# All control characters but tab and newline, and what turns the direction of writing around.
# Colours (ESC [ ... m) are rich's, and harmless.
_STEERING = re.compile(
    r"\x1b\[[0-9;]*m|([\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069])"
)


def harmless(text: str) -> str:
    r"""Return a text with all characters escaped that would steer a terminal.

    >>> print(harmless("votes\x1b[2J"))
    votes\x1b[2J
    """
    return _STEERING.sub(
        lambda match: match[0] if match[1] is None else ascii(match[1])[1:-1], text
    )


class Session:
    """One call of the program: how much it says, and where its log is."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget an earlier call in the same process."""
        self.is_quiet = False
        self.is_verbose = False
        self._folder: Path | None = None
        self._unwritten = ""

    def log_into(self, folder: Path) -> None:
        """Keep what is said in `log.txt` of a run's or study's folder, once the run has begun."""
        self._folder = folder
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.log(f"\n{now}  textmad {' '.join(sys.argv[1:])}\n")

    def log(self, text: str) -> None:
        """Add to the log what the terminal is told."""
        if self._folder is None:
            return
        self._unwritten += harmless(text)
        # A run that ends before its first stage leaves nothing: so a mended recipe begins anew.
        if not any((self._folder / record).exists() for record in ("corpus", "study.yaml")):
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError):  # the run matters more than its log
            descriptor = os.open(self._folder / LOG, flags, 0o666)
            with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self._unwritten)
            self._unwritten = ""

    def say(self, line: str) -> None:
        """Print a line to stderr: what is being done, or what went wrong."""
        self.log(f"{line}\n")
        print(harmless(line), file=sys.stderr, flush=True)

    def tell(self, line: str) -> None:
        """Print a line of progress to stderr, unless the user wants quiet."""
        if self.is_quiet:
            self.log(f"{line}\n")
        else:
            self.say(line)

    def progress(self, generations: int | None = None) -> Progress:
        """Return the display of a run's stages: none beside the first process, or when quiet."""
        from textmad.progress import PlainProgress, SilentProgress, make_progress

        if not is_first_process():
            return SilentProgress()
        stream = cast(TextIO, _Copied(None if self.is_quiet else sys.stderr, self))
        options: dict[str, Any] = {"generations": generations, "processes": world_size()}
        return (
            PlainProgress(stream, **options) if self.is_quiet else make_progress(stream, **options)
        )


session = Session()


class _ToSession(logging.Handler):
    """Prints what textmad and libraries log: their warnings, and more where it is asked for."""

    def emit(self, record: logging.LogRecord) -> None:
        if is_first_process():
            session.say(self.format(record))


class _Copied:
    """A stream whose whole lines go to the log too; live bars, which are none, do not."""

    def __init__(self, stream: TextIO | None, session: Session) -> None:
        self._stream, self._session = stream, session

    def write(self, text: str) -> int:
        if "\x1b" not in text and "\r" not in text:
            self._session.log(text)
        return len(text) if self._stream is None else self._stream.write(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Results(_Copied):
    """stdout: harmless, and copied to the log."""

    def write(self, text: str) -> int:
        assert self._stream is not None
        self._session.log(text)
        self._stream.write(harmless(text))
        return len(text)


@contextmanager
def speaking() -> Iterator[Session]:
    """Begin a session, with stdout and stderr that print whatever they are given."""
    session.begin()
    logging.basicConfig(handlers=[_ToSession()], force=True)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    before, sys.stdout = sys.stdout, cast(TextIO, _Results(sys.stdout, session))
    try:
        yield session
    finally:
        sys.stdout = before


def world_size() -> int:
    """Return how many processes a launcher has started for this run.

    Raises:
        RecipeError: WORLD_SIZE or RANK is no number.
    """
    return _of_launcher("WORLD_SIZE", "1")


def is_first_process() -> bool:
    """Return whether this process speaks; RANK alone may be somebody else's."""
    return world_size() == 1 or _of_launcher("RANK", "0") == 0


def _of_launcher(variable: str, default: str) -> int:
    value = os.environ.get(variable, default)
    if not (value.isascii() and value.isdecimal()):
        raise RecipeError(
            f"{variable}={value}: expected a number, as torchrun and accelerate set it; unset "
            "WORLD_SIZE and RANK if no launcher has started this process"
        )
    return int(value)
