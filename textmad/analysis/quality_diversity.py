"""Arms on the plane of quality and diversity, beside the untuned model at other temperatures.

A lower temperature alone makes text better liked and less diverse. So an arm has learned something
only where its text is above that curve at its own diversity (Caccia et al., "Language GANs falling
short", 1811.02549).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.analysis.arms import SWEEP, Arms, study_record
from textmad.analysis.pairs import Key
from textmad.errors import RunError
from textmad.loop.run import Run
from textmad.statistics import inference
from textmad.studies.folder import RUNS, STUDY

if TYPE_CHECKING:
    import pandas as pd

DIVERSITY = Key("diversity", "distinct_2", "drawn", "")
# What stands for quality, where it was measured: how each jury likes it, and the base model. The
# discriminator of a generation is none: each has learned something else.
_QUALITIES = (("beats_human", "drawn"), ("base_perplexity", "drawn"))
_NO_QUALITY = "discriminator"

Point = tuple[float, float]  # diversity, quality


@dataclass(frozen=True)
class PlanePath:
    """An arm on the plane: its mean over seeds in each generation, and where it ends."""

    arm: str
    points: Mapping[int, Point]  # by generation
    # Quality above the sweep's at the arm's own diversity, at the last generation, over the seeds
    # in which the sweep reaches that diversity; None where it does in none.
    above: inference.Interval | None
    not_reached: tuple[int, ...]  # the seeds in which it does not


@dataclass(frozen=True)
class Plane:
    """One measure of quality against one of diversity."""

    diversity: Key
    quality: Key
    paths: tuple[PlanePath, ...]
    sweep: Mapping[float, Point]  # the untuned model's by temperature, means over seeds
    human: Point | None
    generation: int


def planes(folder: Path, arms: Arms, values: pd.DataFrame) -> tuple[Plane, ...]:
    """Return a plane for each measure of quality; none where the study has no temperature sweep.

    Args:
        folder: of a study, or a run folder.
        arms: what is compared.
        values: their metrics, as `measured_values` returns them.
    """
    swept = _sweep(folder)
    if swept is None:
        return ()
    keys = _quality_keys(values, swept)
    return tuple(_plane(arms, values, swept, key) for key in keys)


def interpolated(sweep: Sequence[Point], diversity: float) -> float:
    """Return the sweep's quality at a diversity, linear between neighbours; NaN outside.

    >>> interpolated([(0.2, 1.0), (0.6, 0.0)], 0.3)
    0.75
    """
    points = sorted(point for point in sweep if all(map(math.isfinite, point)))
    if len(points) < 2 or not points[0][0] <= diversity <= points[-1][0]:
        return math.nan
    x, y = zip(*points, strict=True)
    return float(np.interp(diversity, x, y))


def _sweep(folder: Path) -> pd.DataFrame | None:
    """Return the metrics of the runs of the sweep, with temperature and seed; None without one."""
    import pandas as pd

    if not (folder / STUDY).is_file():
        return None
    tables = []
    for arm in study_record(folder)["arms"].values():
        for path in sorted((folder / RUNS / arm["folder"]).glob("seed-*")):
            if arm.get("control") != SWEEP or not (run := _opened(path)):
                continue
            temperature, seed = run.recipe.sample.temperature, run.recipe.seed
            tables.append(run.metrics.assign(temperature=temperature, seed=seed))
    return pd.concat(tables, ignore_index=True) if tables else None


def _opened(path: Path) -> Run | None:
    try:
        run = Run(path)
    except RunError:  # not begun
        return None
    return run if run.generations else None


def _quality_keys(values: pd.DataFrame, swept: pd.DataFrame) -> list[Key]:
    """Return what was measured of the arms and of the sweep, one key for each metric."""
    columns = list(Key._fields)
    both = set(map(Key._make, values[columns].itertuples(index=False, name=None)))
    both &= set(map(Key._make, swept[columns].itertuples(index=False, name=None)))
    if DIVERSITY not in both:
        return []
    return [
        key
        for quality in _QUALITIES
        for key in sorted(both)
        if key[1:3] == quality and key.bin != _NO_QUALITY
    ]


def _plane(arms: Arms, values: pd.DataFrame, swept: pd.DataFrame, quality: Key) -> Plane:
    temperatures = sorted(set(map(float, swept["temperature"])))
    by_temperature = {
        t: _by_seed(swept[swept["temperature"] == t], quality, 0) for t in temperatures
    }
    paths = []
    for arm in arms.arms:
        table = values[values["arm"] == arm.name]
        by_generation = {g: _by_seed(table, quality, g) for g in range(arms.last + 1)}
        at_last = by_generation[arms.last]
        gaps = {
            seed: point[1]
            - interpolated(
                [each[seed] for each in by_temperature.values() if seed in each], point[0]
            )
            for seed, point in at_last.items()
        }
        reached = [gap for gap in gaps.values() if math.isfinite(gap)]
        means = {g: _mean(points) for g, points in by_generation.items()}
        paths.append(
            PlanePath(
                arm.name,
                {g: point for g, point in means.items() if point is not None},
                inference.mean_interval(reached) if reached else None,
                tuple(seed for seed, gap in gaps.items() if not math.isfinite(gap)),
            )
        )
    means_of_sweep = {t: _mean(points) for t, points in by_temperature.items()}
    return Plane(
        DIVERSITY,
        quality,
        tuple(path for path in paths if path.points),
        {t: point for t, point in means_of_sweep.items() if point is not None},
        _human(values, quality),
        arms.last,
    )


def _by_seed(table: pd.DataFrame, quality: Key, generation: int) -> dict[int, Point]:
    """Return the point of each seed that has both numbers."""
    table = table[table["generation"] == generation]
    x, y = (_of_key(table, key) for key in (DIVERSITY, quality))
    return {int(seed): (x[seed], y[seed]) for seed in x if seed in y}


def _of_key(table: pd.DataFrame, key: Key) -> dict[Any, float]:
    same = np.ones(len(table), bool)
    for column, value in key._asdict().items():
        same &= (table[column] == value).to_numpy()
    found = table[same & np.isfinite(table["value"].to_numpy())]
    return dict(zip(found["seed"], found["value"].astype(float), strict=True))


def _human(values: pd.DataFrame, quality: Key) -> Point | None:
    """Return where human text stands: beside itself it is above in half of the cases."""
    x = _of_key(values, DIVERSITY._replace(split="human")).values()
    of_quality = _of_key(values, quality._replace(split="human")).values()
    y = [0.5] if quality.metric == "beats_human" else list(of_quality)
    return (float(np.mean(list(x))), float(np.mean(y))) if x and y else None


def _mean(points: Mapping[int, Point]) -> Point | None:
    if not points:
        return None
    x, y = zip(*points.values(), strict=True)
    return float(np.mean(x)), float(np.mean(y))
