"""How many seeds a study's hypotheses need, by the results of a pilot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from textmad.analysis.arm_settings import differing_paths, flat_settings
from textmad.analysis.arms import Arms, gather_arms
from textmad.analysis.hypotheses import arm_names, differences_of, metrics_of
from textmad.errors import RunError
from textmad.statistics import inference
from textmad.statistics.power import power, seeds_needed, upper_sd
from textmad.studies import Study
from textmad.studies.arms import Hypothesis

if TYPE_CHECKING:
    from textmad.analysis.hypotheses import Metrics

_PARTS = "corpus.parts"


@dataclass(frozen=True)
class Power:
    """How many seeds a hypothesis needs if its true difference is that of a pilot."""

    hypothesis: Hypothesis
    difference: inference.Interval  # of the pilot
    sd: float  # between the pilot's seeds
    level: float  # of its test, adjusted in the worst case
    planned: float  # power with the seeds of the study
    seeds: float  # for 80 %; infinite where no number is enough
    seeds_for_upper_sd: float  # the same by the upper 80 % bound of the standard deviation


def power_by_pilot(study: Study, folder: Path) -> tuple[list[Power], list[str]]:
    """Return the power of each hypothesis by a pilot's paired differences, and notes on the pilot.

    In Holm's worst case a claim is the first of k and is tested at level / k.

    Args:
        study: that is planned.
        folder: a study's folder with the same arms, by name.

    Raises:
        RunError: an arm, a generation or a metric is not in the pilot; there is one seed; or its
            seeds share human text where each seed of the study has its own.
    """
    pilot, hypotheses = gather_arms([folder]), study.hypotheses
    metrics = metrics_of(pilot, hypotheses)
    powers = [_power(each, metrics, len(hypotheses), folder) for each in hypotheses]
    most = max((each.seeds for each in powers if math.isfinite(each.seeds)), default=0)
    return powers, [
        *_on_parts(study, pilot, folder, most),
        *_on_seeds(study, pilot),
        *_on_settings(study, pilot),
    ]


def _power(hypothesis: Hypothesis, metrics: Metrics, count: int, folder: Path) -> Power:
    where = f"pilot {folder}: hypothesis {hypothesis.name}"
    names = arm_names(hypothesis)
    absent = [name for name in names if name not in metrics]
    if absent:
        raise RunError(
            f"{where}: the pilot has no complete generation of {absent[0]}: expected all arms of "
            "the study under their names"
        )
    seeds = sorted(set.intersection(*(set(metrics[name]) for name in names)))
    if len(seeds) < 2:
        raise RunError(
            f"{where}: {len(seeds)} seed in common: expected at least 2, which have a variance"
        )
    pairs = differences_of(hypothesis, metrics, seeds)
    if pairs.why_not:
        raise RunError(f"{where}: {pairs.why_not}: expected a pilot that has measured it")
    sd = float(np.std(pairs.differences, ddof=1))
    mean, level = float(np.mean(pairs.differences)), hypothesis.level / count
    planned = len(hypothesis.seeds)
    return Power(
        hypothesis=hypothesis,
        difference=inference.mean_interval(pairs.differences),
        sd=sd,
        level=level,
        planned=power(planned, mean, sd, pairs.bounds, level) if sd else math.nan,
        seeds=seeds_needed(mean, sd, pairs.bounds, level),
        seeds_for_upper_sd=seeds_needed(mean, upper_sd(sd, len(seeds) - 1), pairs.bounds, level),
    )


def _on_parts(study: Study, pilot: Arms, folder: Path, most_seeds: float) -> Iterator[str]:
    """Check that the pilot's seeds share human text where the study's do; yield what differs.

    Seeds with human text of their own differ in more than chance: in their texts too.
    """
    planned = max(arm.recipe.corpus.parts for arm in study.arms)
    parts = max(arm.recipe.corpus.parts for arm in pilot.arms)
    if parts == 1 < planned:
        raise RunError(
            f"pilot {folder}: {_PARTS}: 1: its seeds share their human text, and each seed of the "
            f"study has text of its own ({_PARTS}: {planned}). The pilot's sd leaves out what "
            "other text adds, so the seeds would be too few: expected a pilot with the study's "
            f"{_PARTS}"
        )
    if planned == 1 < parts:
        yield (
            f"each seed of the pilot has human text of its own ({_PARTS}: {parts}), and the seeds "
            "of the study share theirs. sd holds differences between texts that the study does "
            "not have: the seeds are rather too many."
        )
    elif planned != parts:
        yield (
            f"a seed of the pilot reads 1/{parts} of the human text and a seed of the study "
            f"1/{planned} ({_PARTS}), so its difference and sd are of another amount of text."
        )
    if 1 < planned < most_seeds:
        yield (
            f"{_PARTS}: {planned} is enough for {planned} seeds. More seeds need more parts, and "
            "each has less human text then."
        )


def _on_seeds(study: Study, pilot: Arms) -> Iterator[str]:
    """Yield the seeds whose results are known before the study."""
    common = sorted(set(study.seeds) & {seed for arm in pilot.arms for seed in arm.runs})
    if common:
        yield (
            f"seeds of the pilot and of the study: {', '.join(map(str, common))}. Their results "
            "are known, so they test nothing: give the study other seeds."
        )


def _on_settings(study: Study, pilot: Arms) -> Iterator[str]:
    """Yield how an arm of the hypotheses differs between pilot and study."""
    ran = {arm.name: arm.settings for arm in pilot.arms}
    plans = {arm.name: flat_settings(arm.recipe) for arm in study.arms}
    names = dict.fromkeys(name for each in study.hypotheses for name in arm_names(each))
    by_change: dict[str, list[str]] = {}
    for name in names:
        both = ran[name], plans[name]
        paths = [path for path in differing_paths(both) if path != _PARTS]
        for path in paths:
            values = (settings.get(path, "none") for settings in both)
            by_change.setdefault(f"{path}: {' in the pilot, '.join(values)} here", []).append(name)
    for change, arms in by_change.items():
        yield f"{change} ({', '.join(arms)}). The pilot is of another study by so much."
