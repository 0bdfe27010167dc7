"""Two ways of doing the same work, each in a process of its own, taking turns.

Turns alternate (plain, ours, plain, ours, ...), so that whatever else the machine does falls on all
sides alike. Only one side works at a time. This module imports no torch: the parent stays small.
"""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

_PEAK = -1  # asked of a process instead of a turn's number


class Done(NamedTuple):
    """What one turn did."""

    tokens: int  # what the speed is counted in
    # What both sides have to agree on, as a loss or a mean length; found off the clock.
    facts: Callable[[], dict[str, float]]


class Turn(NamedTuple):
    """A turn as the parent sees it."""

    seconds: float
    tokens: int
    facts: dict[str, float]


class Side(NamedTuple):
    """A way to do the work: `make` is module:function, and its result is called each turn."""

    name: str
    make: str  # (**settings) -> Callable[[int], Done], which is given the turn's number as a seed
    settings: Mapping[str, Any] = {}


@dataclass
class Measured:
    """The turns of one side."""

    name: str
    turns: list[Turn] = field(default_factory=list)
    peak_bytes: float = 0.0

    @property
    def rates(self) -> list[float]:
        """Tokens a second of each turn."""
        return [turn.tokens / turn.seconds for turn in self.turns]

    @property
    def rate(self) -> float:
        """The median turn's tokens a second."""
        return statistics.median(self.rates)

    def fact(self, name: str) -> float:
        """The mean of a fact over the turns."""
        return statistics.fmean(turn.facts[name] for turn in self.turns)


def alternate(sides: list[Side], num_turns: int) -> dict[str, Measured]:
    """Let the sides take turns, after one turn each that is not counted."""
    measured = {side.name: Measured(side.name) for side in sides}
    with ExitStack() as stack:
        workers = {side.name: stack.enter_context(_Worker(side)) for side in sides}
        for number in range(num_turns + 1):
            for name, worker in workers.items():
                turn = worker.turn(number)
                if number:
                    measured[name].turns.append(turn)
        for name, worker in workers.items():
            measured[name].peak_bytes = worker.peak_bytes()
    return measured


def whole_processes(sides: list[Side], num_turns: int) -> dict[str, Measured]:
    """The same where a turn is a whole process, its start and imports included."""
    measured = {side.name: Measured(side.name) for side in sides}
    for number in range(num_turns):
        for side in sides:
            begun = time.perf_counter()
            with _Worker(side) as worker:
                turn = worker.turn(number)
                peak = worker.peak_bytes()
            whole = turn._replace(seconds=time.perf_counter() - begun)
            measured[side.name].turns.append(whole)
            measured[side.name].peak_bytes = max(peak, measured[side.name].peak_bytes)
    return measured


def call(function: str, **settings: Any) -> Any:
    """What module:function returns, called in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_call, function, settings).result()


class _Worker:
    """A spawned process that holds one side."""

    def __init__(self, side: Side) -> None:
        context = multiprocessing.get_context("spawn")
        self.side = side
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, side))
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._process.join()

    def turn(self, number: int) -> Turn:
        """Have the work done once."""
        turn: Turn = self._ask(number)
        return turn

    def peak_bytes(self) -> float:
        """The most memory that the process has held."""
        peak: float = self._ask(_PEAK)
        return peak

    def _ask(self, question: int) -> Any:
        self._connection.send(question)
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError(
                f"{self.side.name}: its process ended, see its error above"
            ) from None


def _serve(connection: Connection, side: Side) -> None:
    sys.stdout = sys.stderr  # what a side prints is no part of the table
    work = None
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        if question == _PEAK:
            connection.send(_peak_bytes())
            continue
        if work is None:
            work = _named(side.make)(**side.settings)
        _synchronize()
        begun = time.perf_counter()
        done: Done = work(question)
        _synchronize()
        seconds = time.perf_counter() - begun
        connection.send(Turn(seconds, done.tokens, done.facts()))


def _call(function: str, settings: dict[str, Any]) -> Any:
    return _named(function)(**settings)


def _named(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _torch_on_cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _synchronize() -> None:
    if (torch := _torch_on_cuda()) is not None:
        torch.cuda.synchronize()


def _peak_bytes() -> float:
    """Of the GPU where this process used one, else of its memory or its largest child's.

    Not `ru_maxrss` of its own, which a process inherits from the one that started it. NaN where
    there is no /proc (macOS).
    """
    if (torch := _torch_on_cuda()) is not None:
        return float(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    if not peaks:
        return float("nan")
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(float(peaks[0]), children) * 1024
