"""What a run says while it works: a live bar in a terminal, a line a stage elsewhere.

Everything goes to stderr, so that stdout keeps what can be piped. A silent process passes
`SilentProgress`; which process prints is the caller's business.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


# Before so much of a stage is done, an estimate of the rest is of its beginning alone.
_UNSURE_SECONDS, _UNSURE_SHARE = 3.0, 0.03


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
    """Says nothing: for tests, and every process but the first."""

    @contextmanager
    def stage(
        self, generation: int | None, name: str, total: int | None, unit: str
    ) -> Iterator[None]:
        """Do nothing around the stage."""
        yield

    def advance(self, amount: int) -> None:
        """Forget the amount."""


class PlainProgress:
    """Prints a line when a stage ends: amount, seconds, rate; and when generations are left.

    Args:
        stream: where to; stderr by default.
        clock: seconds, from any beginning.
        generations: how many the run has after generation 0; without it no time left is told.
        processes: how many work on the run; each tells its own share of the tokens.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        generations: int | None = None,
        processes: int = 1,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._generations = generations
        self._processes = processes
        self._done = 0
        self._first: tuple[int, float] | None = None  # generation of this session, its beginning
        self._last = 0

    @contextmanager
    def stage(
        self, generation: int | None, name: str, total: int | None, unit: str
    ) -> Iterator[None]:
        """Print the stage's line when it is over, or how far it came if it is left by an error."""
        self._done, started, stopped = 0, self._clock(), True
        self._tell_time_left(generation, started)
        try:
            yield
            stopped = False
            if self._processes > 1 and total is not None:
                self._done = total  # the shares of the processes are not equal to the last token
        finally:
            line = _line(generation, name, self._done, total, unit, self._clock() - started)
            print(line + (" (stopped)" if stopped else ""), file=self._stream, flush=True)

    def advance(self, amount: int) -> None:
        """Count."""
        self._done += amount * self._processes

    def _tell_time_left(self, generation: int | None, now: float) -> None:
        """Print how long the run will take where a generation begins, from those before it."""
        if generation is None or self._generations is None:
            return
        if self._first is None:
            self._first, self._last = (generation, now), generation
        if generation <= self._last:
            return
        self._last = generation
        first, begun = self._first
        left = (now - begun) / (generation - first) * (self._generations + 1 - generation)
        if left >= 60:
            print(f"{'':8}about {about(left)} left", file=self._stream, flush=True)


class TerminalProgress(PlainProgress):
    """Prints the same lines, and a live bar for the stage that runs."""

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
            self._bar.advance(self._bar.task_ids[0], amount * self._processes)


def make_progress(stream: TextIO | None = None, **options: Any) -> Progress:
    """Return the display that suits `stream` (stderr): live in a terminal, plain lines elsewhere.

    `options` are those of `PlainProgress`.
    """
    stream = stream if stream is not None else sys.stderr
    kind = TerminalProgress if stream.isatty() else PlainProgress
    return kind(stream, **options)


class TimeLeft:
    """Estimates how long the rest of several equal pieces of work takes, such as runs."""

    def __init__(self, total: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._total, self._clock, self._begun = total, clock, clock()

    def after(self, done: int) -> str:
        """Return a continuation of a message, "" where nothing is known or a minute is left."""
        left = (self._clock() - self._begun) / done * (self._total - done) if done else 0.0
        return f"; about {about(left)} left" if left >= 60 else ""


def about(seconds: float) -> str:
    """Return a duration as precisely as an estimate is.

    >>> [about(value) for value in (0.2, 14, 95, 700, 5_000, 40_000, 1e6)]
    ['1 second', '15 seconds', '2 minutes', '12 minutes', '1.5 hours', '11 hours', '12 days']
    """
    if seconds < 90:
        number, unit = max(1, round(seconds / 5) * 5), "second"
    elif seconds < 3_600:
        number, unit = round(seconds / 60), "minute"
    elif seconds < 5 * 3_600:
        return f"{round(seconds / 1_800) / 2:g} hours"
    elif seconds < 2 * 86_400:
        number, unit = round(seconds / 3_600), "hour"
    else:
        number, unit = round(seconds / 86_400), "day"
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _title(generation: int | None, name: str) -> str:
    return f"{name:<16}" if generation is None else f"gen {generation:02d}  {name:<8}"


def _amount(done: int, total: float | None) -> str:
    """Return the amount done, with the total if that is not reached."""
    return f"{done:,}" if total is None or done >= total else f"{done:,} of {total:,.0f}"


def _line(
    generation: int | None, name: str, done: int, total: int | None, unit: str, seconds: float
) -> str:
    # A rate of filters or evaluators a second says nothing.
    rate = f"{done / seconds:,.0f} {unit}/s" if seconds > 0 and done / seconds >= 1 else ""
    counted = _amount(done, total) if done or total else ""  # some stages count nothing
    amount = f"{counted:>20} {unit if counted else '':<9}"
    return f"{_title(generation, name)} {amount} {seconds:8.1f} s  {rate}".rstrip()


def _bar(stream: TextIO) -> RichProgress:
    from rich import progress as rich
    from rich.console import Console

    class Amount(rich.ProgressColumn):
        """How much is done, and how fast."""

        def render(self, task: rich.Task) -> str:
            unit = task.fields["unit"]
            rate = f"  {task.speed:,.0f}/s" if task.speed and task.speed >= 1 else ""
            return f"{_amount(int(task.completed), task.total)} {unit}{rate}"

    class Remaining(rich.ProgressColumn):
        """Time left, from the whole stage: its beginning is slower than the rest of it."""

        def render(self, task: rich.Task) -> str:
            done, elapsed = task.completed, task.elapsed or 0.0
            if not task.total or elapsed < _UNSURE_SECONDS or done < _UNSURE_SHARE * task.total:
                return ""
            return f"{about(elapsed / done * (task.total - done))} left"

    return rich.Progress(
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=16),
        Amount(),
        rich.TimeElapsedColumn(),
        Remaining(),
        console=Console(file=stream, force_terminal=True),
        refresh_per_second=4,
        transient=True,
    )
