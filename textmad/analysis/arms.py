"""Run folders as arms: runs whose recipes differ in the seed alone are replicates of one arm.

A study's study.yaml names its arms and seeds; the runs are runs/<folder of the arm>/seed-<n>. All
other runs are grouped by their recipes and named by the settings in which these differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from textmad.analysis.arm_settings import (
    ArmRuns,
    component,
    differing_paths,
    flat_settings,
    short_names,
)
from textmad.analysis.control import PerArmControl, choose_control
from textmad.errors import RunError
from textmad.loop.run import Run
from textmad.mixture import compared_tokens
from textmad.statistics.inference import pool_factor
from textmad.store.folder import RECIPE
from textmad.store.records import read_sealed_yaml
from textmad.studies.folder import RUNS, STUDY

HUMAN_ONLY = "human only"
SWEEP = "temperature"  # the kind of control that is sampled at one temperature after another


@dataclass(frozen=True)
class Arms:
    """The arms of a comparison, controls first, with notes about them."""

    arms: tuple[ArmRuns, ...]
    last: int  # the last generation that every run has
    notes: tuple[str, ...]
    tolerances: Mapping[str, float] = field(default_factory=dict)  # by METRIC/SPLIT, of a search
    own: PerArmControl | None = None  # None: the first arm is the control of all others
    partial: bool = False  # runs are missing or not finished

    @property
    def control(self) -> str:
        """Return the control's name in sentences."""
        return self.own.called if self.own else self.arms[0].name

    @cached_property
    def controls(self) -> dict[str, ArmRuns]:
        """Return the control of each arm that has one, by the arm's name."""
        by_name = {arm.name: arm for arm in self.arms}
        names = self.own.of if self.own else dict.fromkeys(list(by_name)[1:], self.arms[0].name)
        return {arm: by_name[control] for arm, control in names.items()}

    def differing(self) -> dict[str, dict[str, str]]:
        """Return the settings that differ between arms, by the arm's name."""
        paths = differing_paths([arm.settings for arm in self.arms])
        return {
            arm.name: {path: arm.settings[path] for path in paths if path in arm.settings}
            for arm in self.arms
        }


def gather_arms(folders: Sequence[str | Path], control: str | None = None) -> Arms:
    """Return the arms in the folders: one study, or any run folders.

    Args:
        folders: a study's folder, or run folders.
        control: see `choose_control`.

    Raises:
        RunError: no such folders, fewer than two arms, a seed twice in an arm, an arm of a study
            whose runs differ in more than the seed, runs that were measured differently, or no
            control.
    """
    paths = [Path(folder) for folder in folders]
    arms, notes = _open(paths)
    record = study_record(paths[0]) if (paths[0] / STUDY).is_file() else {}
    chosen = choose_control(arms, control, record)
    first = {chosen} if isinstance(chosen, str) else set(chosen.of.values())
    ordered = sorted(arms, key=lambda arm: arm.name not in first)
    last = min(run.generations[-1] for arm in arms for run in arm.runs.values())
    own = None if isinstance(chosen, str) else chosen
    partial = bool(notes) or any(not run.complete for arm in arms for run in arm.runs.values())
    gathered = Arms(tuple(ordered), last, tuple(notes), _tolerances(record), own, partial)
    _check_pairs(gathered.controls, arms)
    return replace(gathered, notes=(*notes, *_cautions(gathered)))


def _open(paths: Sequence[Path]) -> tuple[list[ArmRuns], list[str]]:
    """The arms that have begun, and which runs have not."""
    where = _list(paths)
    studies = [path for path in paths if (path / STUDY).is_file()]
    if studies and len(paths) > 1:
        raise RunError(
            f"{where}: {studies[0]} is a study: expected it alone, or run folders (of a study: "
            "DIR/runs/ARM/seed-N)"
        )
    planned = _of_study(studies[0]) if studies else [("", path) for path in paths]
    opened = [(name, Run(path)) for name, path in planned if not studies or _is_there(path)]
    begun = [(name, run) for name, run in opened if run.generations]
    if not begun:
        raise RunError(
            f"{where}: no run has a complete generation; the command that began a run resumes it"
        )
    _check_evaluators([run for _, run in begun])
    arms = _named(begun) if studies else _grouped([run for _, run in begun])
    if len(arms) < 2:
        raise RunError(
            f"{where}: one arm, {arms[0].name} (seed {_list(arms[0].runs)}): expected at least "
            "two with a complete generation; runs that differ in the seed alone are one arm"
        )
    usable = {run.path for _, run in begun}
    return arms, _left_out([(name, path) for name, path in planned if path not in usable])


def _of_study(folder: Path) -> list[tuple[str, Path]]:
    """Every run that a study has, begun or not, under the name of its arm.

    Without the temperature sweep, which has one generation and stands on the plane alone.
    """
    record = study_record(folder)
    try:
        return [
            (name, folder / RUNS / arm["folder"] / f"seed-{seed}")
            for name, arm in record["arms"].items()
            for seed in record["seeds"]
            if arm.get("control") != SWEEP
        ]
    except (AttributeError, KeyError, TypeError):
        raise RunError(
            f"{folder / STUDY}: is no study's record: expected the one that `textmad study` "
            "writes into its --out; a study that is still to be run has nothing to compare"
        ) from None


def study_record(folder: Path) -> dict[str, Any]:
    """Read a study's study.yaml."""
    return read_sealed_yaml(folder / STUDY, "the study")


def _tolerances(record: Mapping[str, Any]) -> dict[str, float]:
    """Of the metric whose critical share a study seeks; empty where it seeks none."""
    sought = record.get("threshold")
    return {str(sought["metric"]): float(sought["tolerance"])} if sought else {}


def _left_out(idle: Sequence[tuple[str, Path]]) -> list[str]:
    """The runs that are not compared: of a study arm by arm, else by their folders."""
    if not idle:
        return []
    names = dict.fromkeys(name or str(path) for name, path in idle)
    runs = {each: [path.name for name, path in idle if name == each] for each in names}
    said = (f"{each} ({_list(seeds)})" if seeds else each for each, seeds in runs.items())
    return [f"Left out, without a complete generation: {'; '.join(said)}."]


def _is_there(run: Path) -> bool:
    return (run / RECIPE).is_file()


def _named(runs: Iterable[tuple[str, Run]]) -> list[ArmRuns]:
    """A study's runs, arm by arm."""
    by_name: dict[str, list[Run]] = {}
    for name, run in runs:
        by_name.setdefault(name, []).append(run)
    arms = [ArmRuns(name, _by_seed(replicates)) for name, replicates in by_name.items()]
    for arm in arms:
        for run in arm.runs.values():
            if flat_settings(run.recipe) != arm.settings:
                paths = differing_paths([arm.settings, flat_settings(run.recipe)])
                raise RunError(
                    f"{run.path}: stands under the arm {arm.name}, whose first run has another "
                    f"{_list(paths)}: expected runs that differ in the seed alone"
                )
    return arms


def _grouped(runs: Iterable[Run]) -> list[ArmRuns]:
    """Runs of equal settings together, in the order given, under names that tell them apart."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(flat_settings(run.recipe)), []).append(run)
    settings = {key: flat_settings(group[0].recipe) for key, group in groups.items()}
    human = [key for key, group in groups.items() if group[0].recipe.is_human_only]
    keys = [key for key in groups if [key] != human]
    differing = differing_paths(list(settings.values()))
    names = dict(zip(keys, short_names([settings[key] for key in keys], differing), strict=True))
    return [ArmRuns(names.get(key, HUMAN_ONLY), _by_seed(group)) for key, group in groups.items()]


def _by_seed(runs: Iterable[Run]) -> dict[int, Run]:
    by_seed: dict[int, Run] = {}
    for run in runs:
        other = by_seed.setdefault(run.recipe.seed, run)
        if other is not run:
            raise RunError(
                f"{run.path}: has the recipe and the seed, {run.recipe.seed}, of {other.path}: "
                "expected every seed once"
            )
    return dict(sorted(by_seed.items()))


def _check_pairs(controls: Mapping[str, ArmRuns], arms: Sequence[ArmRuns]) -> None:
    for arm in arms:
        control = controls.get(arm.name)
        if control is not None and not set(arm.runs) & set(control.runs):
            raise RunError(
                f"{arm.name} (seed {_list(arm.runs)}) has no seed in common with the control "
                f"{control.name} (seed {_list(control.runs)}): expected pairs; run the control "
                "with the same seeds"
            )


# --- what has to be said --------------------------------------------------------------------


def _check_evaluators(runs: Sequence[Run]) -> None:
    """An evaluator with other settings measures something else under the same name."""
    first: dict[str, tuple[Run, Mapping[str, Any]]] = {}
    for run in runs:
        for name, settings in map(component, run.recipe.dump()["evaluate"]):
            other, others = first.setdefault(name, (run, settings))
            for key in dict.fromkeys([*others, *settings]):
                if others.get(key) != settings.get(key):
                    raise RunError(
                        f"{run.path}: was measured with evaluate.{name}.{key}: "
                        f"{settings.get(key)}, {other.path} with {others.get(key)}: expected the "
                        "same evaluators in all runs"
                    )


def _cautions(gathered: Arms) -> list[str]:
    arms, last = gathered.arms, gathered.last
    runs = [run for arm in arms for run in arm.runs.values()]
    notes = []
    unfinished = [
        f"{run.path} has {run.generations[-1]} of {run.recipe.generations}"
        for run in runs
        if not run.complete
    ]
    if unfinished:
        notes.append(f"Not finished: {'; '.join(unfinished)}.")
    if any(run.generations[-1] > last for run in runs):
        notes.append(f"Compared at generation {last}, the last that every run has.")
    if last == 0:
        notes.append("Up to generation 0 every arm has learned from human text alone.")
    placed = {*gathered.controls, *(control.name for control in gathered.controls.values())}
    alone = [a.name for a in arms if a.name not in placed and not a.recipe.is_human_only]
    if alone:
        notes.append(f"Without {gathered.control}, so compared with nothing: {_list(alone)}.")
    for arm in arms:
        control = gathered.controls.get(arm.name, arm)
        single = sorted(set(arm.runs) ^ set(control.runs))
        if single:
            notes.append(f"In no difference of {arm.name}, without a pair: seed {_list(single)}.")
    return [*notes, *_unlike(arms, runs), *_pool_notes(arms)]


_LARGE_SHARE = 0.1  # of the pool: beyond it intervals over seeds are too narrow for new text


def _pool_notes(arms: Sequence[ArmRuns]) -> list[str]:
    """A warning where seeds learn so much of the human pool that they are alike for it."""
    shares = {
        arm.name: max(_pool_share(run) for run in arm.runs.values())
        for arm in arms
        if arm.recipe.corpus.parts == 1  # else each seed has human text of its own
    }
    share, num_seeds = max(shares.values(), default=0.0), max(len(arm.runs) for arm in arms)
    if share <= _LARGE_SHARE or num_seeds < 2:
        return []
    factor = pool_factor(num_seeds, share)
    advice = (
        "they say nothing about new human text"
        if math.isinf(factor)
        else f"for new human text make them {factor:.1f} times as wide"
    )
    return [
        f"A seed learns up to {share:.0%} of the human pool, so the seeds share human text and "
        f"their spread is too small: intervals hold for this pool; {advice}.".replace("%", " %")
    ]


def _pool_share(run: Run) -> float:
    """The share of the human pool that a run learns, in [0, 1]."""
    learned = [run.mixture(generation)["human_tokens"] for generation in run.generations]
    total = sum(learned) if run.recipe.mix.human == "fresh" else max(learned)
    pool = run.corpus_report["human"]["tokens"]
    return min(1.0, total / pool) if pool else 0.0


def _unlike(arms: Sequence[ArmRuns], runs: Sequence[Run]) -> list[str]:
    """What makes equal names stand for numbers that are not quite of the same thing."""
    notes = []
    paths = differing_paths([arm.settings for arm in arms])
    if any(path.startswith("corpus.") for path in paths):
        notes.append("The arms' human text differs, and with it the held-out text.")
    if {"model.base", "model.revision"} & set(paths):
        notes.append(
            "The arms' base models differ: perplexity and losses by token compare under equal "
            "tokenizers only, bits per byte under all."
        )
    sizes = sorted({compared_tokens(run.recipe.mix, run.recipe.sample) for run in runs})
    if len(sizes) > 1:
        notes.append(
            f"Texts are compared at {' and '.join(f'{size:,}' for size in sizes)} tokens, on "
            "which measures of diversity depend; an equal sample.min_tokens mends that."
        )
    if len({run.provenance.get("code") for run in runs}) > 1:
        notes.append("The runs were made by different versions of textmad.")
    return notes


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def runs_side_by_side(arms: Arms) -> dict[str, Run]:
    """Of each arm the run whose texts are shown: of one seed in all arms, as far as they share one.

    With the same seed a slot draws from the same random numbers and begins with the same prompt,
    so what differs is the model.
    """
    common = set.intersection(*(set(arm.runs) for arm in arms.arms))
    return {arm.name: arm.runs[min(common or arm.runs)] for arm in arms.arms}
