"""A study's folder as its one writer sees it, and how far its runs are.

runs/quickstart/
  study.yaml     the seeds, and every arm with its resolved recipe
  hypotheses/    what the study claims, by date (`textmad.studies.registration`)
  runs/          <arm>/seed-<n>/: ordinary run folders
  cache/         what evaluators compute once a run, for the other runs (`store.cache`)
  stages.jsonl   who computed which stage, who took it over, seconds
  logs/          <arm>/seed-<n>.log: what a run of the local pool or of Ray says
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from textmad import store
from textmad.errors import RecipeError, RunError, TextmadError, WaitingForVotesError
from textmad.loop.run import Run
from textmad.progress import Progress
from textmad.recipe import Recipe
from textmad.recipe.yaml_text import to_yaml
from textmad.store.folder import METRICS, PROVENANCE, RECIPE
from textmad.studies.arms import PlannedRun, Study
from textmad.studies.registration import register

STUDY = "study.yaml"
RUNS, LOGS = "runs", "logs"

State = Literal["finished", "waiting for votes", "failed", "begun", "not begun"]


class RunState(NamedTuple):
    """How far a run of a study is."""

    run: PlannedRun
    state: State
    generations: int  # complete ones
    seconds: float  # that its stages took, in all sessions
    error: str  # of this session


class Saved(NamedTuple):
    """What runs took over from each other."""

    stages: int
    of: int  # stages that are there
    seconds: float  # that computing them again would have taken


@contextmanager
def begun(
    study: Study, path: Path, cpu_threads: int, tell: Callable[[str], None] = lambda line: None
) -> Iterator[int]:
    """Begin a study in the folder `path`, or go on with it, as its only writer.

    What cannot be continued is an error here, before any run. Arms and seeds may be added to a
    study, and an arm without a run may be changed. `tell` is told what is registered.

    Yields:
        The CPU threads that each run has: those it was begun with, or `cpu_threads` for a new one.

    Raises:
        RecipeError: runs are there that are not this study's, or of other recipes.
        RunInUseError: another process conducts the study.
        RunError: runs are there of other code or libraries, or the folder holds something else,
            such as the file that the study was read from.
    """
    if (path / STUDY).exists():
        read_record(path)  # what is none is not written over
    with store.locked(path, STUDY, "a study"):
        there = sorted(path.glob(f"{RUNS}/*/seed-*/{RECIPE}"))
        _check_recipes(study, path, [recipe.parent for recipe in there])
        _check_code(path, [recipe.parent for recipe in there])
        if there:
            cpu_threads = int(read_record(path)["cpu_threads"])
        write_record(study, path, cpu_threads)
        _register(study, path, there, tell)
        yield cpu_threads


def _register(study: Study, path: Path, there: Sequence[Path], tell: Callable[[str], None]) -> None:
    """Put the study's hypotheses on record before its first run, or a change of them."""
    version = register(
        study.hypotheses, path, lambda: sum(_has_results(recipe.parent) for recipe in there)
    )
    if version is None:
        return
    late = "" if version.before_results else f", with results of {version.runs_with_results} runs"
    tell(
        f"hypotheses: version {version.number} with {len(version.hypotheses)} registered{late}; "
        f"SHA-256 {version.sha256}"
    )


def _has_results(run: Path) -> bool:
    """Whether a run has a complete generation; a damaged one may have had."""
    try:
        return bool(Run(run).generations)
    except RunError:
        return True


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` has written into the folder.

    Raises:
        RecipeError: it cannot be read.
        RunError: study.yaml is something else, or was changed by hand.
    """
    record = store.read_sealed_yaml(path / STUDY, "the study")
    if "cpu_threads" not in record:
        raise RunError(
            f"{path / STUDY}: is no study's record, which would be written over it: expected a new "
            "or empty folder, or a study to resume; choose another --out than the study file's own "
            "folder"
        )
    return record


def write_record(study: Study, path: Path, cpu_threads: int) -> None:
    """Write study.yaml: what the study is now."""
    record = {"cpu_threads": cpu_threads, **study.dump()}
    store.write_atomically(path / STUDY, store.sealed_yaml(to_yaml(record)))


def is_study_folder(path: Path) -> bool:
    """Whether a study was begun in the folder."""
    return (path / STUDY).is_file()


def evaluate_study(path: Path, evaluators: Sequence[Any], progress: Progress) -> list[Run]:
    """Measure all runs of a study that are there by more evaluators, as `tm.evaluate` does.

    Raises:
        TextmadError: an evaluator is invalid, another process conducts the study, or a run is
            damaged.
    """
    from textmad.loop.measuring import evaluate  # which loads torch

    record = read_record(path)
    with store.locked(path, STUDY, "a study"):
        arms = record["arms"].values()
        names = [f"{arm['folder']}/seed-{seed}" for seed in record["seeds"] for arm in arms]
        runs = [
            evaluate(
                path / RUNS / name,
                evaluators,
                progress=progress,
                shared=store.SharedStages(path, name),
            )
            for name in names
            if (path / RUNS / name / RECIPE).is_file()
        ]
        measured_by = {run.path.parent.name: run.recipe.dump()["evaluate"] for run in runs}
        for arm in arms:
            if arm["folder"] in measured_by:
                arm["recipe"]["evaluate"] = measured_by[arm["folder"]]
        store.write_atomically(path / STUDY, store.sealed_yaml(to_yaml(record)))
    return runs


def states(study: Study, path: Path, errors: Mapping[str, TextmadError]) -> list[RunState]:
    """Each run of the study, begun or not; `errors` are this session's, by the run's name."""
    seconds: dict[str, float] = {}
    for record in store.stage_records(path):
        seconds[record.run] = seconds.get(record.run, 0.0) + record.seconds
    found = []
    for run in study.runs():
        state, generations = _state(path / RUNS / run.name, run.recipe)
        if run.name in errors:
            is_waiting = isinstance(errors[run.name], WaitingForVotesError)
            state = "waiting for votes" if is_waiting else "failed"
        error = str(errors.get(run.name, ""))
        found.append(RunState(run, state, generations, seconds.get(run.name, 0.0), error))
    return found


def saved(path: Path) -> Saved:
    """Stages that were taken over, and the seconds that they took where they were computed."""
    records = store.stage_records(path)
    computed = {record.key: record.seconds for record in records if record.source is None}
    taken = [record for record in records if record.source is not None]
    seconds = sum(max(computed.get(r.key, 0.0) - r.seconds, 0.0) for r in taken)
    return Saved(len(taken), len(records), seconds)


def _state(path: Path, planned: Recipe) -> tuple[State, int]:
    """How far the run is, and its complete generations."""
    if not (path / RECIPE).exists():
        return "not begun", 0
    run = Run(path)
    try:
        generations, is_complete = len(run.generations), run.complete
    except RunError:  # damaged
        return "failed", 0
    is_as_planned = not store.differences(run.recipe.dump(), planned.dump())
    is_whole = is_complete and is_as_planned and (path / METRICS).exists()
    return "finished" if is_whole else "begun", generations


# --- what is invalid ------------------------------------------------------------------------


def _check_recipes(study: Study, path: Path, there: list[Path]) -> None:
    planned = {path / RUNS / run.name: run.recipe for run in study.runs()}
    faults = []
    for folder in there:
        name = folder.relative_to(path).as_posix()
        if folder not in planned:
            faults.append(f"{name}: is no run of this study; move it elsewhere")
            continue
        try:
            manifests = store.RunFolder(folder).manifests()
        except RunError:  # damaged: the run fails by it and stops no other
            manifests = []
        before = store.read_recipe(folder / RECIPE)
        faults += [
            f"{name}: {line}"
            for line in store.forbidden_changes(before, planned[folder], manifests)
        ]
    if faults:
        raise RecipeError(
            f"{path}: was begun as another study: restore that, use another --out, or delete these "
            "runs\n  " + "\n  ".join(faults)
        )


def _check_code(path: Path, there: list[Path]) -> None:
    now = {"code": store.code_version(), "versions": store.versions()}
    found: dict[str, list[str]] = {}
    for folder in there:
        if not (folder / PROVENANCE).exists():  # killed before its first stage
            continue
        origins = store.read_sealed_json(folder / PROVENANCE)
        for line in store.differences({key: origins.get(key) for key in now}, now):
            found.setdefault(line, []).append(folder.relative_to(path).as_posix())
    if found:
        lines = [f"{line} ({_some(names)})" for line, names in found.items()]
        raise RunError(
            f"{path}: has runs by other code or libraries, which new ones could not be compared "
            "with: install those again, use another --out, or delete these runs\n  "
            + "\n  ".join(lines)
        )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


# --- the table of runs ----------------------------------------------------------------------


def summary(runs: Sequence[RunState], path: Path) -> str:
    """A line a run, what sharing saved, and where to go on."""
    done = saved(path)
    lines = [_table(runs).rstrip()]
    if done.stages:
        lines.append(
            f"shared: {done.stages} of {done.of} stages were taken over from another run, "
            f"which saved {done.seconds:,.0f} s"
        )
    lines.append(f"runs: {path / RUNS}")
    if any(run.state == "finished" for run in runs):
        lines.append(f"compare them: textmad compare {path}")
    return "\n".join(lines)


def _table(runs: Sequence[RunState]) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("arm", "seed", "state", "generations", "seconds", "error"):
        is_number = heading in ("seed", "generations", "seconds")
        table.add_column(
            heading, justify="right" if is_number else "left", overflow="fold", highlight=False
        )
    for state in runs:
        table.add_row(
            state.run.arm,
            str(state.run.seed),
            state.state,
            f"{state.generations} of {state.run.recipe.generations + 1}",
            f"{state.seconds:,.1f}" if state.seconds else "",
            state.error.partition("\n")[0],
        )
    text = io.StringIO()
    width = max(80, shutil.get_terminal_size((120, 24)).columns)
    Console(file=text, width=width, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
