"""Where a study's runs are computed: in this process one by one, or side by side in others.

An engine is given the runs in their order and yields each that ends, with its error or None. That
for a cluster is in `studies.on_ray`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import site
import subprocess
import sys
import sysconfig
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import textmad.errors
from textmad import store
from textmad.errors import TextmadError
from textmad.progress import Progress, TimeLeft
from textmad.recipe import Recipe, parse_recipe
from textmad.studies.arms import PlannedRun
from textmad.studies.folder import LOGS, RUNS
from textmad.threads import waiting

STAGE = "stage"  # the key of a worker's line about a stage of its run

Ended = tuple[PlannedRun, TextmadError | None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A run of a study, as a process needs it."""

    study: str
    name: str
    recipe: dict[str, Any]
    cpu_threads: int

    @property
    def log(self) -> Path:
        """Where it writes what is for nobody else."""
        return Path(self.study, LOGS, f"{self.name}.log")


def compute(job: Job, progress: Progress) -> TextmadError | None:
    """Compute a run, or go on with it; the error that it ends in.

    An error that is not textmad's own is put into the log with its traceback.
    """
    import torch

    from textmad.loop import recursion

    threads = torch.get_num_threads()
    torch.set_num_threads(job.cpu_threads)
    try:
        recipe: Recipe = parse_recipe(job.recipe, where=job.name)
        shared = store.SharedStages(Path(job.study), job.name)
        out = Path(job.study, RUNS, job.name)
        recursion.run(recipe, out, progress=progress, shared=shared)
    except TextmadError as error:
        return error
    except (Exception, SystemExit) as error:  # a filter's sys.exit ends its run, not the study
        job.log.parent.mkdir(parents=True, exist_ok=True)
        store.append(job.log, traceback.format_exc())
        return TextmadError(f"{type(error).__name__}: {error}: where it was raised is in {job.log}")
    finally:
        torch.set_num_threads(threads)
        gc.collect()  # loop, scorer and members refer to each other, with their models
    return None


def threads_each(jobs: int) -> int:
    """CPU threads of each run: an equal share, and with a single job what torch takes."""
    if jobs == 1:
        import torch

        return torch.get_num_threads()
    share = max(1, usable_cores() // jobs)
    return min(share, asked_threads() or share)


def usable_cores() -> int:
    """The cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(usable(0)) if usable else os.cpu_count() or 1


def asked_threads() -> int | None:
    """What OMP_NUM_THREADS says, where it says anything."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else None


def answer(error: TextmadError | None) -> dict[str, str]:
    """How a run ended, as one process tells another."""
    return {} if error is None else {"kind": type(error).__name__, "message": str(error)}


def error_of(answer: Mapping[str, str]) -> TextmadError | None:
    """The error that an `answer` tells of."""
    if not answer:
        return None
    kind: type[TextmadError] = getattr(textmad.errors, answer["kind"])
    return kind(answer["message"])


def write_to_log(job: Job) -> None:
    """Whatever this process says from here on, what filters print too."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with store.opened_to_write(job.log, os.O_APPEND) as log:
        for descriptor in (1, 2):
            os.dup2(log, descriptor)


def in_this_process(
    runs: Sequence[PlannedRun], path: Path, cpu_threads: int, progress: Progress, tell: Tell
) -> Generator[Ended, None, None]:
    """One after another; what is imported stays imported."""
    left = TimeLeft(len(runs))
    for number, run in enumerate(runs, start=1):
        tell(f"run {number} of {len(runs)}: {run.title}{left.after(number - 1)}")
        yield run, compute(Job(str(path), run.name, run.recipe.dump(), cpu_threads), progress)


# --- the local pool -------------------------------------------------------------------------


class _Worker(NamedTuple):
    run: PlannedRun
    job: Job
    place: int  # from 0, below the number of jobs
    process: subprocess.Popen[bytes]


def in_pool(
    runs: Sequence[PlannedRun], path: Path, cpu_threads: int, num_jobs: int, tell: Tell
) -> Generator[Ended, None, None]:
    """So many at a time, each in a process with its share of threads and its GPU.

    A process takes one run after another, as its imports cost as much as a short generation. When
    this process ends, however it ends, so do they. `tell` is told each stage that a run has done.
    """
    width = max((len(run.title) for run in runs), default=0)
    gpus = visible_gpus()
    waiting = deque(enumerate(runs, start=1))
    left, num_ended = TimeLeft(len(runs)), 0
    processes: dict[int, subprocess.Popen[bytes]] = {}  # by their place
    working: dict[int, _Worker] = {}  # by the descriptor that it answers on
    try:
        while waiting or working:
            busy = {worker.place for worker in working.values()}
            for place in [place for place in range(num_jobs) if place not in busy][: len(waiting)]:
                number, run = waiting.popleft()
                job = Job(str(path), run.name, run.recipe.dump(), cpu_threads)
                if place not in processes or processes[place].poll() is not None:
                    processes[place] = _start(job, place, gpus)
                worker = _Worker(run, job, place, processes[place])
                working[_give(worker)] = worker
                tell(f"run {number} of {len(runs)} begins: {run.title}")
            answered = connection.wait(list(working))
            for descriptor in [number for number in working if number in answered]:
                worker = working[descriptor]
                for message in _messages(worker.process):
                    if message is not None and STAGE in message:
                        tell(f"{worker.run.title:<{width}}  {message[STAGE]}")
                        continue
                    del working[descriptor]
                    error = _ended(worker) if message is None else error_of(message)
                    num_ended += 1
                    if error is None:
                        tell(f"done: {worker.run.title}{left.after(num_ended)}")
                    yield worker.run, error
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (listed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in listed.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def environment(place: int, cpu_threads: int, gpus: Sequence[str]) -> dict[str, str]:
    """The variables of the worker at a place in the pool."""
    variables = {**os.environ, **pinned(cpu_threads)}
    if gpus:
        variables["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
    return variables


def pinned(cpu_threads: int) -> dict[str, str]:
    """The variables that every process of a study has, wherever it is."""
    return {
        "OMP_NUM_THREADS": str(cpu_threads),
        "PYTHONPATH": search_path(),
        **waiting(os.environ),
    }


def search_path() -> str:
    """PYTHONPATH under which this Python finds elsewhere all that is found here.

    It finds its own library and packages by itself.
    """
    own = [sysconfig.get_path("stdlib"), *site.getsitepackages()]
    return os.pathsep.join(
        path
        for path in dict.fromkeys(sys.path)
        if os.path.exists(path) and not any(Path(path).is_relative_to(place) for place in own)
    )


def _start(job: Job, place: int, gpus: Sequence[str]) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with store.opened_to_write(job.log, os.O_APPEND) as log:
        return subprocess.Popen(
            [sys.executable, "-m", "textmad.studies.engines.worker"],
            env=environment(place, job.cpu_threads, gpus),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,  # until it has read its job, and opens that one's log by itself
            start_new_session=True,  # Ctrl-C comes to this process alone, which ends the others
        )


def _give(worker: _Worker) -> int:
    """Have the process begin; the descriptor that it will answer on."""
    process = worker.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(vars(worker.job)).encode() + b"\n")
    process.stdin.flush()  # and stays open: its end tells the worker that this process has ended
    return process.stdout.fileno()


def _messages(process: subprocess.Popen[bytes]) -> list[dict[str, str] | None]:
    """What a worker has said since it was last asked; None at the end where it says no more.

    A line each: a stage that is done, or the run's end, `{}` or an error's kind and message.
    """
    assert process.stdout is not None
    said, is_ended = b"", False
    while not (said.endswith(b"\n") or is_ended):  # nothing may stay in the buffer, unseen
        piece = process.stdout.read1()  # type: ignore[attr-defined]
        said, is_ended = said + piece, not piece
    messages = [json.loads(line) for line in said.splitlines(keepends=True) if line[-1:] == b"\n"]
    return [*messages, None] if is_ended else messages


def _ended(worker: _Worker) -> TextmadError:
    """How a process ended that has not answered."""
    code = worker.process.wait()
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return TextmadError(f"its process was ended {how}; what it said is in {worker.job.log}")
