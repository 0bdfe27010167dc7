"""How long a piece of work takes now, and how long it would take if the machine were idle.

On an idle machine a process is busy from the first moment to the last: the thread that calls works
or, where others work for it, they do. So the time of its calling thread on a core is about the time
that the work takes, whatever else the machine does meanwhile. Two lower bounds of the idle time are
known, and the larger one is taken:

    idle = max(CPU time of the calling thread, CPU time of all threads / number of threads)

Threads that wait for each other spin for a moment (`textmad.threads`), and two processes that share
a core take each other's cache. Both add to the CPU time on a busy machine: there, `idle` is too
long by some tenths. Waiting for the disk is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Seconds(NamedTuple):
    """Seconds that a piece of work takes."""

    now: float  # by the clock
    idle: float  # by the clock of an idle machine


class Reading(NamedTuple):
    """What the clocks of a process show, in seconds."""

    clock: float
    process: float  # CPU time of all threads
    thread: float  # CPU time of the calling thread


def read_clocks() -> Reading:
    """Read the three clocks."""
    return Reading(time.perf_counter(), time.process_time(), time.thread_time())


def seconds_between(first: Reading, last: Reading, num_threads: int, on_cpu: bool) -> Seconds:
    """Return the seconds that lie between two readings.

    Where another device computes, CPU time says nothing, and `idle` is `now`.

    >>> seconds_between(Reading(0, 0, 0), Reading(60, 10, 8), num_threads=2, on_cpu=True)
    Seconds(now=60, idle=8)
    """
    now = last.clock - first.clock
    if not on_cpu:
        return Seconds(now, now)
    of_all = (last.process - first.process) / num_threads
    return Seconds(now, max(last.thread - first.thread, of_all))


def timed(call: Callable[[], T]) -> tuple[T, Seconds]:
    """Call, and return the result with the seconds that it took."""
    import torch  # which takes seconds to load

    from textmad.models.distributed import processes

    on_cpu = processes.device().type == "cpu"
    first = read_clocks()
    result = call()
    return result, seconds_between(first, read_clocks(), torch.get_num_threads(), on_cpu)
