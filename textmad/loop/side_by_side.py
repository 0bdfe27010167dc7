"""Members of a population side by side: processes of their own compute the members' stages.

    with side_by_side(loop, jobs) as advance:
        advance(generation)             commits fit to evaluate of all members, jobs at a time
    fit(member, generation)             finds the stage committed, and checks what it was made from

The processes only commit stages. The run itself then goes through all of them as if it had been
resumed, so nothing depends on which process has computed a stage, or when.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from textmad import store
from textmad.errors import RecipeError, RunError
from textmad.models.distributed import processes
from textmad.progress import Progress
from textmad.recipe import Recipe

if TYPE_CHECKING:
    from textmad.store import Sharing

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
MakeLoop = Callable[[Recipe, store.RunFolder, Progress, "Sharing | None"], Any]


@contextmanager
def side_by_side(
    make_loop: MakeLoop, recipe: Recipe, folder: Path, shared: Sharing | None, jobs: int
) -> Iterator[Callable[[int], None]]:
    """Yield a function that computes one generation of all members, `jobs` members at a time.

    With one job it does nothing, since the run itself computes the stages.

    Args:
        make_loop: makes the loop over a run folder; a function of a module.
        recipe: of the run; filters and evaluators of the user's own have to be importable.
        folder: of the run, which this process has locked.
        shared: where other runs leave what they have in common with this one.
        jobs: at least 1.

    Raises:
        RecipeError: there are no members, or the run has several processes already.
        RunError: a process was killed.
    """
    if jobs == 1:
        yield lambda generation: None
        return
    if recipe.population is None:
        raise RecipeError(
            f"--jobs {jobs}: computes the members of a population side by side, and this recipe "
            "has no population: expected 1"
        )
    if processes.world_size() > 1:
        raise RecipeError(
            f"--jobs {jobs}: this run has {processes.world_size()} processes that share each "
            "stage: expected 1"
        )
    members = range(recipe.population.members)
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(
        min(jobs, len(members)),
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(make_loop, recipe.dump(), folder, shared, threads, os.getpid()),
    ) as pool:

        def advance(generation: int) -> None:
            try:
                for _ in pool.map(_compute, members, [generation] * len(members)):
                    pass
            except BrokenProcessPool as error:
                raise RunError(
                    f"{folder}: a process that computed a member was killed, perhaps for want of "
                    "memory: give the same command again, with fewer --jobs"
                ) from error

        yield advance


_loop: Any = None  # of a process that computes members


def _begin(
    make_loop: MakeLoop,
    recipe: dict[str, Any],
    folder: Path,
    shared: Sharing | None,
    threads: int,
    parent: int,
) -> None:
    """Open the run in a process that computes members, and end with the run's own process."""
    from textmad.progress import SilentProgress
    from textmad.recipe import parse_recipe

    global _loop
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    torch.set_num_threads(threads)
    parsed = parse_recipe(recipe, where=str(folder))
    _loop = make_loop(parsed, store.RunFolder(folder), SilentProgress(), shared)


def _compute(member: int, generation: int) -> None:
    """Commit a member's stages of a generation."""
    _loop.advance(member, generation)
