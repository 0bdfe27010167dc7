"""The search for a critical share: arms placed one after another where they tell most.

Each family begins with two shares of model text. When all its runs and those of its control are
finished, `textmad.statistics.critical_share` fits a curve to their differences at the last
generation. The next arm is placed where that curve leaves the tolerance, which may be below the
first two shares: the control has a share of 0. So placements follow from committed metrics and the
study file alone. An arm that has been begun stays, also where seeds come in later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from textmad.errors import RecipeError, RunError
from textmad.evaluators.metrics import METRICS, bounds
from textmad.loop.run import Run
from textmad.recipe import MixSettings, parse_recipe
from textmad.statistics.critical_share import CriticalShare, critical_share, next_share
from textmad.store.folder import RECIPE
from textmad.studies.arms import BASE, Arm, PlannedRun, Search, Study
from textmad.studies.controls import control_reads, twins, with_controls
from textmad.studies.folder import RUNS
from textmad.studies.measured import unmeasured
from textmad.studies.settings import ControlSettings, ThresholdSettings

Shares = Mapping[str, Sequence[float]]  # by the family's name


def begin_search(
    arms: Sequence[Arm], controls: ControlSettings, settings: ThresholdSettings
) -> Search:
    """The search in each of the arms, and in the random twins of their filters.

    Raises:
        RecipeError: a search that makes no sense in an arm, a fault a line.
    """
    faults = dict.fromkeys(fault for arm in arms for fault in _faults(arm, controls, settings))
    if faults:
        raise RecipeError("\n".join(faults))
    if len(arms) == 1 and arms[0].name == BASE:
        arms = [replace(arms[0], name="")]  # share=0.1 says enough
    chance = [
        replace(twin, name=twin.name.strip())
        for arm in arms
        for twin in (twins(arm) if controls.twins else [])
    ]
    # An arm of model text alone no longer knows which kind of human text it had.
    kinds = {control_reads(arm, controls) for arm in arms}
    human = kinds.pop() if len(kinds) == 1 else controls.human
    alone = ControlSettings(
        human=human, tokens="human" if settings.share == "added" else "all", twins=False
    )
    return Search(settings, alone, (*arms, *chance))


def laid_out(search: Search, seeds: Sequence[int], shares: Shares | None = None) -> Study:
    """The study with arms at these shares of each family; by default those it begins with.

    Raises:
        RecipeError: the recipe of an arm is invalid.
    """
    at = shares or {family.name: search.settings.between for family in search.families}
    arms = [
        _at_share(family, share, search)
        for family in search.families
        for share in sorted(at[family.name])
    ]
    names = {arm.name for arm in arms}
    arms = [replace(arm, of=tuple(name for name in arm.of if name in names)) for arm in arms]
    return Study(tuple(with_controls(arms, search.controls)), tuple(seeds), search)


def grown(study: Study, path: Path, tell: Callable[[str], None] = lambda line: None) -> Study:
    """The study with the arms that have been begun in its folder, and those that come next.

    When none does, `tell` is told why.

    Raises:
        RunError: the metric of the threshold is not among those measured.
    """
    if study.search is None:
        return study
    shares, ends, placed = {}, [], False
    for family in study.search.families:
        shares[family.name] = there = _begun(family, study.search.settings, path)
        share, why = _next(study, family, there, path)
        if share is not None:
            placed = True
            shares[family.name] = [*there, share]
            tell(f"{_named(family.name, share)} comes next: {why}")
        elif why:
            ends.append(f"{f'{family.name}: ' if family.name else ''}no further share: {why}")
    if not placed:
        for line in ends:
            tell(line)
    return replace(laid_out(study.search, study.seeds, shares), hypotheses=study.hypotheses)


def _next(
    study: Study, family: Arm, there: Sequence[float], path: Path
) -> tuple[float | None, str]:
    """The family's next share, or None, and why; no word while runs are not finished."""
    assert study.search is not None
    settings = study.search.settings
    at = {each.name: there for each in study.search.families}  # others do not matter here
    values = _values(laid_out(study.search, study.seeds, at), family, there, path)
    if values is None:
        return None, ""
    metric, is_finite = settings.metric.split("/")[0], np.isfinite(values).all(axis=1)
    human = _human(laid_out(study.search, study.seeds, at), family, there, path)
    human = None if human is None else human[is_finite]
    values = values[is_finite]
    if len(values) < 2:
        return None, f"{settings.metric} is a finite number in all arms of fewer than two seeds"
    tolerance = settings.allowed * abs(float(values[:, 0].mean()))
    differences, harm = values[:, 1:] - values[:, :1], bounds(metric, tolerance)
    if human is not None:  # best at the human value: a move towards it is no harm
        away = np.abs(values - human[:, None])
        differences, harm = away[:, 1:] - away[:, :1], (-math.inf, tolerance)
    found = critical_share(there, differences, harm)
    so_far = _so_far(found)
    if len(there) >= settings.arms:
        return None, f"{so_far}; threshold.arms: {settings.arms}"
    share = next_share(there, found.estimate)
    if share is None:
        is_left = math.isfinite(found.estimate)
        return None, f"{so_far}; the shares around that leave no room" if is_left else so_far
    if why_not := _cannot_be_run(family, share, there, settings.share):
        return None, f"{so_far}; {share:g} {why_not}"
    return share, so_far


def _cannot_be_run(family: Arm, share: float, there: Sequence[float], meaning: str) -> str:
    """What forbids a share that may lie below all that the study file was checked for."""
    mix, sample = family.recipe.mix, family.recipe.sample
    found = {at: _budgets(mix, at, meaning) for at in (0.0, *there, share)}
    same = [f"{at:g}" for at in (0.0, *there) if found[at] == found[share]]
    if same:
        return f"is to a token the share {same[0]}"
    model_tokens = found[share]["model_tokens"]
    if model_tokens < min(sample.min_tokens, found[there[0]]["model_tokens"]):
        return (
            f"is text of {model_tokens:,} tokens, fewer than all others are compared on: for it, "
            "begin a study with a smaller sample.min_tokens"
        )
    return ""


def _at_share(family: Arm, share: float, search: Search) -> Arm:
    """The family's recipe with this share of model text, to a token."""
    data, mix = family.recipe.dump(), family.recipe.mix
    data["mix"] |= _budgets(mix, share, search.settings.share)
    if not mix.human_tokens and search.controls.human != "recipe":
        data["mix"]["human"] = search.controls.human  # as the control reads it
    for side in ("human", "model"):  # how to choose among nothing cannot be set
        if data["mix"][f"{side}_tokens"] == 0:
            del data["mix"][side]
    name = _named(family.name, share)
    of = tuple(_named(other, share) for other in family.of)
    return replace(family, name=name, recipe=parse_recipe(data, where=name), of=of)


def _budgets(mix: MixSettings, share: float, meaning: str) -> dict[str, int]:
    if meaning == "added":
        human = mix.human_tokens
        return {"human_tokens": human, "model_tokens": round(human * share / (1 - share))}
    total = mix.human_tokens + mix.model_tokens
    model = round(total * share)
    return {"human_tokens": total - model, "model_tokens": model}


def _named(family: str, share: float) -> str:
    return " ".join(filter(None, [family, f"share={share:g}"]))


def _so_far(found: CriticalShare) -> str:
    if math.isinf(found.estimate):
        return "no share that was run leaves the tolerance"
    low, high = (f"{share:.2f}" if math.isfinite(share) else "none" for share in found[1:3])
    return f"the tolerance is left at {found.estimate:.2f} so far (95 % interval {low} to {high})"


# --- what is there --------------------------------------------------------------------------


def _begun(family: Arm, settings: ThresholdSettings, path: Path) -> list[float]:
    """The family's shares that have a run in the folder, and those that it begins with."""
    shares = set(settings.between)
    for recipe in path.glob(f"{RUNS}/*share=*/seed-*/{RECIPE}"):
        folder = recipe.parts[-3]
        try:
            share = float(folder.rpartition("share=")[2])
        except ValueError:
            continue
        if replace(family, name=_named(family.name, share)).folder == folder:
            shares.add(share)
    return sorted(shares)


def _values(
    study: Study, family: Arm, shares: Sequence[float], path: Path
) -> NDArray[np.float64] | None:
    """The metric of the control and at each share, (seeds, 1 + shares); None before all is run."""
    assert study.search is not None
    names = [_named(family.name, share) for share in shares]
    control = _control(study, names[0])
    runs = {(run.arm, run.seed): run for run in study.runs()}
    rows = [
        [
            _value(path, runs[arm, seed], study.search.settings.metric)
            for arm in (control.name, *names)
        ]
        for seed in study.seeds
    ]
    if any(value is None for row in rows for value in row):
        return None
    return np.array(rows, dtype=float)


def _control(study: Study, arm: str) -> Arm:
    return next(each for each in study.arms if each.control == "human" and arm in each.of)


def _human(
    study: Study, family: Arm, shares: Sequence[float], path: Path
) -> NDArray[np.float64] | None:
    """The value of human text by seed; None where the metric is not best there, or has none."""
    assert study.search is not None
    name, split, bin = (*study.search.settings.metric.split("/"), "")[:3]
    if split == "held_out" or name not in METRICS or METRICS[name].direction != "human":
        return None
    control = _control(study, _named(family.name, shares[0]))
    values = []
    for seed in study.seeds:
        table = Run(path / RUNS / f"{control.folder}/seed-{seed}").metrics_table
        own = (pc.field("metric") == name) & (pc.field("split") == "human")
        found = table.filter(own & (pc.field("bin") == bin))["value"].to_numpy()
        found = found[np.isfinite(found)]
        if not len(found):
            return None
        values.append(float(found.mean()))
    return np.array(values)


def _value(path: Path, planned: PlannedRun, metric: str) -> float | None:
    """The metric at the last generation; None of a run that is not finished.

    Raises:
        RunError: it was not measured.
    """
    folder, last = path / RUNS / planned.name, planned.recipe.generations
    if not (folder / RECIPE).is_file():
        return None
    run = Run(folder)
    if run.generations != list(range(last + 1)):
        return None
    name, split, bin = (*metric.split("/"), "")[:3]
    table = run.metrics_table.filter(pc.field("generation") == last)
    own = (pc.field("metric") == name) & (pc.field("split") == split) & (pc.field("bin") == bin)
    found = table.filter(own)["value"].to_pylist()
    if len(found) != 1:
        there = zip(*(table[column].to_pylist() for column in ("metric", "split")), strict=True)
        known = ", ".join(dict.fromkeys("/".join(each) for each in there))
        counted = "is measured by several evaluators" if found else "is not measured"
        raise RunError(f"threshold.metric: {metric}: {counted} in {folder}; there are: {known}")
    return float(found[0])


# --- what is invalid ------------------------------------------------------------------------


def _faults(arm: Arm, controls: ControlSettings, settings: ThresholdSettings) -> list[str]:
    """What makes no sense in this arm."""
    recipe, where = arm.recipe, "" if arm.name == BASE else f" in {arm.name}"
    faults = []
    if settings.share == "added" and not recipe.mix.human_tokens:
        faults.append(
            f"threshold.share: added: mix.human_tokens is 0{where}: there is nothing to add to; "
            "raise it, or take share: replaced"
        )
    elif not _budgets(recipe.mix, settings.between[0], settings.share)["model_tokens"]:
        faults.append(
            f"threshold.between: {settings.between[0]:g}: is not one token of model text{where}; "
            "raise it, or the budgets in mix"
        )
    if recipe.mix.model == "all":
        faults.append(
            f"threshold: mix.model: all{where}: model text accumulates, so that no share stays; "
            "take latest or pool"
        )
    if recipe.crawl is not None:
        faults.append(
            f"threshold: crawl{where}: human text that may be a model's has no known share; delete "
            "crawl, or run axes over crawl.contamination"
        )
    faults += unmeasured(
        "threshold.metric", settings.metric, [each.name for each in recipe.evaluate], where
    )
    kind = recipe.mix.human
    if recipe.mix.human_tokens and controls.human not in ("recipe", "none", kind):
        faults.append(
            f"controls.human: {controls.human}: mix.human is {kind}{where}, so that more than "
            "model text would set arm and control apart; leave one of them out"
        )
    return faults
