"""A study's runs on Ray: on this machine, or on a cluster that is there already.

Each run is a task, which Ray begins where the CPUs and the GPU that it needs are free. What runs
share goes through the study's folder, as between the processes of the local pool; through Ray go
a recipe, and how its run ended.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from textmad import store
from textmad.errors import RunError, TextmadError
from textmad.progress import PlainProgress
from textmad.studies.arms import PlannedRun
from textmad.studies.engines.local import (
    Ended,
    Job,
    Tell,
    answer,
    asked_threads,
    compute,
    error_of,
    pinned,
    usable_cores,
    write_to_log,
)
from textmad.studies.folder import STUDY

_SHARED_MEMORY = 80 * 2**20  # bytes; Ray takes no less than 75 MiB, and we hand nothing over
_CONNECTING = 10.0  # seconds
_ENDING = 10.0  # seconds that the nodes have to end their tasks


class _Given(NamedTuple):
    run: PlannedRun
    job: Job
    task: Any  # Ray's reference to what it will answer


def check_ray() -> None:
    """Raise RunError where the package is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError as missing:
        raise RunError(
            f"engine ray: {missing}: install it, `python -m pip install 'textmad[ray]'`"
        ) from missing


def threads_of_a_task() -> int:
    """CPU threads of each run: OMP_NUM_THREADS, else 1, as Ray has it too.

    This machine's cores say nothing of a cluster's.
    """
    return asked_threads() or 1


def on_ray(
    runs: Sequence[PlannedRun], path: Path, cpu_threads: int, address: str | None, tell: Tell
) -> Generator[Ended, None, None]:
    """As many at a time as there is room for, each with CPUs and a GPU of its own.

    When this process ends, however it ends, so do they.

    Args:
        runs: in the order in which they are handed to Ray.
        path: the study's folder, which all nodes share.
        cpu_threads: of each run; so many CPUs are kept for it.
        address: of the cluster, or `auto` for the one that Ray finds; None starts a Ray on this
            machine that ends with the study.
        tell: told what there is to run them on, and when one is done.

    Raises:
        RunError: Ray does not answer at the address.
    """
    import ray

    with _connected(address, cpu_threads):
        total = ray.cluster_resources()
        num_gpus = int(total.get("GPU", 0))
        begin = ray.remote(_task).options(
            num_cpus=cpu_threads,
            num_gpus=min(1, num_gpus),
            max_retries=0,  # the same command tries again
            runtime_env={"env_vars": pinned(cpu_threads)},
        )
        tell(f"Ray has {int(total.get('CPU', 0))} CPUs and {num_gpus} GPUs for {len(runs)} runs")
        if all(node["Resources"].get("CPU", 0) < cpu_threads for node in ray.nodes()):
            tell(f"no node has the {cpu_threads} CPUs of a run: Ray waits until one comes")
        here, origins = str(Path.cwd()), _origins()
        waiting: dict[Future[dict[str, str]], _Given] = {}
        try:
            for run in runs:
                job = Job(str(path), run.name, run.recipe.dump(), cpu_threads)
                task = begin.remote(vars(job), here, origins)
                waiting[task.future()] = _Given(run, job, task)
            while waiting:
                # Not by ray.wait: what a signal's handler raises in there is lost.
                ended = wait(waiting, return_when=FIRST_COMPLETED).done
                for future in [future for future in waiting if future in ended]:
                    given = waiting.pop(future)
                    error = _result(future, given.job)
                    if error is None:
                        tell(f"done: {given.run.title}")
                    yield given.run, error
        finally:
            for given in reversed(waiting.values()):  # the last first: none of them shall begin
                ray.cancel(given.task, force=True)
            wait(waiting, timeout=_ENDING)


@contextmanager
def _connected(address: str | None, cpu_threads: int) -> Iterator[None]:
    """Be connected to Ray: as this process is already, or for as long as the study takes."""
    import ray

    if ray.is_initialized():
        if address is not None:
            raise RunError(f"address: {address}: this process is connected to Ray; leave it out")
        yield
        return
    if address is not None:
        _check_answers(address)
    own = {
        "num_cpus": max(usable_cores(), cpu_threads),  # a study may have more threads than we cores
        "object_store_memory": _SHARED_MEMORY,
        "include_dashboard": False,
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with _sigterm_kept():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="error",
                **(own if address is None else {}),
            )
    except Exception as error:  # Ray raises that itself where it takes too long to start
        raise RunError(f"address: {address or 'local'}: no Ray there: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Say at once where nothing listens; Ray asks again for seven minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():  # "auto", or nothing that Ray takes
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECTING).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"address: {address}: no Ray there: {error}") from error


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray puts a handler of its own in the place of ours."""
    if threading.current_thread() is not threading.main_thread():  # there it does not
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _result(future: Future[dict[str, str]], job: Job) -> TextmadError | None:
    """What the task has answered, or why it could not."""
    from ray.exceptions import RayError

    try:
        return error_of(future.result())
    except RayError as error:
        return TextmadError(f"{type(error).__name__}: {error}; what it said is in {job.log}")


# --- on the node ----------------------------------------------------------------------------


def _task(job: Mapping[str, Any], folder: str, origins: Mapping[str, Any]) -> dict[str, str]:
    """Compute a run in Ray's process, in the folder where the study was begun."""
    try:
        check_node(Path(folder), Path(folder, job["study"]), origins)
    except TextmadError as error:
        return answer(error)
    os.chdir(folder)
    with _output_kept():
        write_to_log(Job(**job))
        return answer(compute(Job(**job), PlainProgress()))


@contextmanager
def _output_kept() -> Iterator[None]:
    """Give Ray back its stdout and stderr, or the run's log will hold what it says to itself."""
    kept = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in kept:
            os.dup2(copy, descriptor)
            os.close(copy)


def _origins() -> dict[str, Any]:
    return {"code": store.code_version(), "versions": store.versions()}


def check_node(folder: Path, study: Path, origins: Mapping[str, Any]) -> None:
    """What it computed would stay there, or could not be compared with the others' results."""
    node = socket.gethostname()
    for path in (folder, study / STUDY):
        if not path.exists():
            raise RunError(f"node {node}: has no {path}: all nodes need the same folders")
    if differing := store.differences(origins, _origins()):
        raise RunError(
            f"node {node}: has other code or libraries than where the study was started:\n  "
            + "\n  ".join(differing)
        )
