"""The processes of one run: which one this is, where it computes, and how values meet."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState

from textmad.errors import RunError

Value = TypeVar("Value")

_alone = ContextVar("alone", default=False)


def rank() -> int:
    """This process among the run's, from 0."""
    return 0 if _alone.get() else int(_state().process_index)


def world_size() -> int:
    """How many processes work on the run."""
    return 1 if _alone.get() else int(_state().num_processes)


@contextmanager
def alone() -> Iterator[None]:
    """Make this process work by itself inside, as if there were no others."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


def is_main() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU."""
    own_device: torch.device = _state().device
    return own_device


def gather(mine: Value) -> list[Value]:
    """The value of every process, by rank; every process has to call it.

    >>> gather("alone")
    ['alone']
    """
    if world_size() == 1:
        return [mine]
    everyone: list[Value] = [mine] * world_size()
    torch.distributed.all_gather_object(everyone, mine)
    return everyone


def broadcast(value: Any = None) -> Any:
    """The first process's value, in every process; every process has to call it.

    >>> broadcast("alone")
    'alone'
    """
    if world_size() == 1:
        return value
    sent = [value]
    torch.distributed.broadcast_object_list(sent, src=0)
    return sent[0]


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        torch.distributed.barrier()


def _state() -> PartialState:
    # Without cpu=True accelerate takes CPU processes under torchrun for so many separate runs.
    # The others wait while the main process filters and evaluates, which may take hours.
    try:
        return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))
    except ValueError as error:
        raise RunError(
            f"the environment of a launcher (RANK, LOCAL_RANK, WORLD_SIZE): {error}: unset what "
            "something else has put there, or start textmad by torchrun or accelerate launch"
        ) from error


@atexit.register
def _leave() -> None:
    """Part in order: gloo's threads abort a process that exits with its group still open."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
