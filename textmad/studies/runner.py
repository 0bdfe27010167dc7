"""A study from its beginning to its end: every run, whatever becomes of the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from textmad.errors import RecipeError, RunError, TextmadError, WaitingForVotesError
from textmad.loop.run import Run
from textmad.progress import Progress, SilentProgress
from textmad.studies.arms import Study
from textmad.studies.critical_share import grown
from textmad.studies.engines.local import in_pool, in_this_process, threads_each
from textmad.studies.engines.ray import check_ray, on_ray, threads_of_a_task
from textmad.studies.folder import RUNS, RunState, begun, states, write_record
from textmad.studies.parsing import load_study, parse_study


def study(
    plan: Study | str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    jobs: int = 1,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda line: None,
    at_end: Callable[[list[RunState]], None] = lambda runs: None,
) -> dict[str, list[Run]]:
    """Run a study into the folder `out`, or go on with the one that stands there.

    >>> import textmad as tm
    >>> runs = tm.study(
    ...     {"recipe": tm.Recipe(), "seeds": [0, 1], "axes": {"sample.temperature": [0.8, 1]}},
    ...     out="runs/temperature",
    ... )  # doctest: +SKIP
    >>> runs["temperature=0.8"][0].metrics  # doctest: +SKIP

    Args:
        plan: a study, its file, or what would stand in that.
        out: the study's folder; created where it is missing.
        jobs: runs side by side, each in a process of its own; 1 is this process.
        engine: "ray" has as many side by side as Ray has room for.
        address: of a Ray cluster, or "auto"; None is a Ray on this machine for as long as the
            study takes, or the one that this process is connected to.
        progress: told of the stages that this process computes; silent by default.
        tell: told when a run begins or ends.
        at_end: told how far every run is, also when the study is interrupted.

    Returns:
        The runs of each arm, in the order of the seeds.

    Raises:
        TextmadError: the study is invalid; or runs failed. Then all others have been run, the
            error is of the first one's kind, and the message names them all.
        WaitingForVotesError: no run failed, and some wait for people's votes. All others have been
            run.
    """
    if not isinstance(plan, Study):
        plan = _read(plan)
    _check_engine(engine, address, jobs)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError("a study's runs have one process each: start it without a launcher")
    out = Path(out)
    plan = grown(plan, out)
    errors: dict[str, TextmadError] = {}
    asked = threads_of_a_task() if engine == "ray" else threads_each(jobs)
    with begun(plan, out, asked, tell) as threads:
        seen: set[str] = set()
        try:
            while runs := [run for run in plan.runs() if run.name not in seen]:
                if engine == "ray":
                    ended = on_ray(runs, out, threads, address, tell)
                elif jobs == 1:
                    ended = in_this_process(runs, out, threads, progress or SilentProgress(), tell)
                else:
                    ended = in_pool(runs, out, threads, jobs, tell)
                with closing(ended):
                    for run, error in ended:
                        seen.add(run.name)
                        if error is not None:
                            errors[run.name] = error
                            waits = isinstance(error, WaitingForVotesError)
                            tell(f"{'waiting' if waits else 'failed'}: {run.title}: {error}")
                plan = grown(plan, out, tell)
                write_record(plan, out, threads)
        finally:
            at_end(states(plan, out, errors))
    if errors:
        raise _together(errors, len(plan.runs()), out)
    return {
        arm.name: [Run(out / RUNS / run.name) for run in plan.runs() if run.arm == arm.name]
        for arm in plan.arms
    }


def _read(plan: str | Path | Mapping[str, Any]) -> Study:
    if isinstance(plan, Mapping):
        return parse_study(plan, "study()", Path())
    return load_study(plan)


def _check_engine(engine: str, address: str | None, jobs: int) -> None:
    if jobs < 1:
        raise RunError(f"jobs: {jobs}: expected at least 1")
    if engine not in ("local", "ray"):
        raise RecipeError(f"engine: {engine}: expected local or ray")
    if engine != "ray":
        if address is not None:
            raise RecipeError(f"address: {address}: is for Ray: add engine ray, or leave it out")
        return
    if jobs > 1:
        raise RecipeError(
            f"jobs: {jobs}: Ray runs as many as it has room for: leave it out, and say by "
            "OMP_NUM_THREADS how many CPUs each takes"
        )
    check_ray()


def _together(errors: Mapping[str, TextmadError], num_runs: int, out: Path) -> TextmadError:
    """Return one error for all runs that failed, or else for all that wait for votes."""
    failed = {
        name: error for name, error in errors.items() if not isinstance(error, WaitingForVotesError)
    }
    if failed:
        message = f"{len(failed)} of {num_runs} runs failed; the same command tries them again"
    else:
        message = (
            f"{len(errors)} of {num_runs} runs wait for people's votes: vote with `textmad rate "
            f"{out}`, then run the same command again"
        )
    named = failed or errors
    first = next(iter(named.values()))
    lines = [f"{name}: {error}".replace("\n", "\n    ") for name, error in named.items()]
    return type(first)("\n  ".join([message, *lines]))
