"""The processes of one run: which one this is, where it computes, and how values meet."""

from __future__ import annotations

import atexit
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState

Value = TypeVar("Value")


def rank() -> int:
    """This process among the run's, from 0."""
    return int(_state().process_index)


def world_size() -> int:
    """How many processes work on the run."""
    return int(_state().num_processes)


def is_main() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU."""
    found: torch.device = _state().device
    return found


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
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


@atexit.register
def _leave() -> None:
    """Part in order: gloo's threads abort a process that exits with its group still open."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
