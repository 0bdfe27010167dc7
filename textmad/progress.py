"""What a run says while it works: a live bar in a terminal, a line a stage elsewhere.

Everything goes to stderr, so that stdout keeps what can be piped. A silent process passes
`SilentProgress`; which process prints is the caller's business.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """Told of one stage at a time.

        with progress.stage(2, "sample", 25_000, "tokens"):
            model.sample(..., advance=progress.advance)

    `generation` is None for stages before the loop, `total` where the amount is not known.
    """

    def stage(
        self, generation: int | None, name: str, total: int | None, unit: str
    ) -> AbstractContextManager[None]:
        """One stage, from its beginning to its end; stages do not nest."""

    def advance(self, amount: int) -> None:
        """`amount` more units of the open stage are done."""


class SilentProgress:
    """Says nothing: tests, and every process but the first."""

    @contextmanager
    def stage(
        self, generation: int | None, name: str, total: int | None, unit: str
    ) -> Iterator[None]:
        """Do nothing around the stage."""
        yield

    def advance(self, amount: int) -> None:
        """Forget the amount."""


class PlainProgress:
    """One line when a stage ends: amount, seconds, rate."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._done = 0

    @contextmanager
    def stage(
        self, generation: int | None, name: str, total: int | None, unit: str
    ) -> Iterator[None]:
        """Print the stage's line when it is over, or how far it came if it is left by an error."""
        self._done, started, stopped = 0, self._clock(), True
        try:
            yield
            stopped = False
        finally:
            line = _line(generation, name, self._done, total, unit, self._clock() - started)
            print(line + (" (stopped)" if stopped else ""), file=self._stream, flush=True)

    def advance(self, amount: int) -> None:
        """Count."""
        self._done += amount


class TerminalProgress(PlainProgress):
    """The same line for a stage that is over, and a live bar for the one that runs."""

    _bar: RichProgress | None = None

    @contextmanager
    def stage(
        self, generation: int | None, name: str, total: int | None, unit: str
    ) -> Iterator[None]:
        """Show done, total, rate and time left; the bar makes way for the line at the end."""
        with super().stage(generation, name, total, unit):
            self._bar = _bar(self._stream)
            self._bar.add_task(_title(generation, name), total=total, unit=unit)
            try:
                with self._bar:
                    yield
            finally:
                self._bar = None

    def advance(self, amount: int) -> None:
        """Count, and move the bar."""
        super().advance(amount)
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], amount)


def make_progress(stream: TextIO | None = None) -> Progress:
    """The display that suits `stream` (stderr): live in a terminal, plain lines elsewhere."""
    stream = stream if stream is not None else sys.stderr
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)


def _title(generation: int | None, name: str) -> str:
    return f"{name:<16}" if generation is None else f"gen {generation:02d}  {name:<8}"


def _amount(done: int, total: float | None) -> str:
    """A stage that came short of its total, or is on its way there, names both."""
    return f"{done:,}" if total is None or done >= total else f"{done:,} of {total:,.0f}"


def _line(
    generation: int | None, name: str, done: int, total: int | None, unit: str, seconds: float
) -> str:
    rate = f"{done / seconds:,.0f} {unit}/s" if done and seconds > 0 else ""
    counted = _amount(done, total) if done or total else ""  # some stages count nothing
    amount = f"{counted:>20} {unit if counted else '':<9}"
    return f"{_title(generation, name)} {amount} {seconds:8.1f} s  {rate}".rstrip()


def _bar(stream: TextIO) -> RichProgress:
    from rich import progress as rich
    from rich.console import Console

    class Amount(rich.ProgressColumn):
        def render(self, task: rich.Task) -> str:
            unit = task.fields["unit"]
            rate = f"  {task.speed:,.0f}/s" if task.speed else ""
            return f"{_amount(int(task.completed), task.total)} {unit}{rate}"

    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=16),
        Amount(),
        rich.TimeRemainingColumn(compact=True),
        console=Console(file=stream, force_terminal=True),
        refresh_per_second=4,
        transient=True,
    )
