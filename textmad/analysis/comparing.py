"""Arms set against a control over seeds: the numbers behind `textmad compare`.

Every number of an arm is paired with that of the control of the same seed and generation. What is
asked of each metric and arm at the last generation: does it differ (paired t test, adjusted for as
many questions as the table asks), is it shown to do no harm beyond a tolerance (equivalence), and
from which generation on was it outside the tolerance?
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.analysis.arms import Arms, gather_arms, runs_side_by_side
from textmad.analysis.comparison import Against, Comparison, Curve, Row
from textmad.analysis.dose_series import families, families_left_out, thresholds
from textmad.analysis.frequency_bins import BIN_KEYS, bin_losses
from textmad.analysis.pairs import Key, Paired, finite, over_seeds
from textmad.analysis.warnings import warnings
from textmad.errors import RunError
from textmad.evaluators.metrics import METRICS, bounds, noticeable
from textmad.statistics import inference

if TYPE_CHECKING:
    import pandas as pd

# Enough to tell apart the ways to go mad, few enough for a table; `metrics` asks for others.
DEFAULT = (
    ("perplexity", "held_out"),
    ("rare_loss", "held_out"),
    ("base_perplexity", "drawn"),
    ("rare_rate", "drawn"),
    ("distinct_2", "drawn"),
)


def compare(
    folders: Sequence[str | Path],
    *,
    control: str | None = None,
    metrics: Sequence[str] = (),
    tolerance: float | None = None,
) -> Comparison:
    """Set the arms in these folders against a control.

    >>> import textmad as tm
    >>> found = tm.compare(["runs/upvotes"], metrics=["perplexity/held_out"])  # doctest: +SKIP
    >>> found.table[["arm", "difference", "difference_low", "p"]]  # doctest: +SKIP

    Args:
        folders: a study's folder, or run folders; runs that differ in the seed alone are
            replicates of one arm.
        control: the name of an arm, or one of its run folders; in a study `human` or `twin`, the
            control of that kind which each arm has; by default the only arm that learns from
            human text alone and, where a study has several, each arm's own.
        metrics: METRIC, METRIC/SPLIT or METRIC/SPLIT/BIN as metrics.parquet names them, with `*`
            for any part; by default the few that tell apart the ways to go mad, and all of the
            user's own evaluators.
        tolerance: share of the control's value by which a metric may be worse without harm; by
            default what the report calls a move, 2 % (of `rare_rate` and `base_perplexity` 5 %),
            and for the metric of a study's threshold what that says.

    Raises:
        RunError: see `gather_arms`; no such metric; a tolerance that is not positive.
    """
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise RunError(f"tolerance: {tolerance}: expected a share above 0, such as 0.02")
    arms = gather_arms(folders, control)
    found = set_against(measured(arms), arms, metrics, tolerance)
    return replace(found, runs=runs_side_by_side(arms))


def measured(arms: Arms) -> pd.DataFrame:
    """All metrics of all runs up to the last common generation, with the columns arm and seed."""
    import pandas as pd

    tables = [
        run.metrics.assign(arm=arm.name, seed=seed)
        for arm in arms.arms
        for seed, run in arm.runs.items()
    ]
    together = pd.concat(tables, ignore_index=True)
    return together[together["generation"] <= arms.last]


def set_against(
    values: pd.DataFrame, arms: Arms, metrics: Sequence[str] = (), tolerance: float | None = None
) -> Comparison:
    """The comparison of measured values; `values` as `measured` gives them."""
    keys = chosen_keys(values, metrics, tuple(arms.tolerances))
    wide = values.pivot(
        index=[*Key._fields, "arm", "seed"], columns="generation", values="value"
    ).sort_index()
    paired = [_paired(wide, key, arms, tolerance) for key in keys]
    there = set(measured_keys(values))
    bins = [_paired(wide, key, arms, tolerance) for key in BIN_KEYS if key in there]
    rows, curves = [], []
    for each in paired:
        key = each.key
        for arm, numbers in each.values.items():
            means = over_seeds(numbers)
            reference = _human(key, _of_arm(wide, key._replace(split="human"), arm))
            row = Row(key, arm, means.get(arms.last), reference)
            rows.append(_set_against(row, each, arms.last) if arm in arms.controls else row)
            curves.append(Curve(key, arm, means))
    return Comparison(
        control=arms.control,
        controls={name: control.name for name, control in arms.controls.items()},
        seeds={arm.name: tuple(arm.runs) for arm in arms.arms},
        generation=arms.last,
        rows=tuple(_adjusted(rows)),
        curves=tuple(curves),
        notes=(
            *arms.notes,
            *families_left_out(arms),
            *_absent(values[values["generation"] == arms.last], keys),
        ),
        settings=arms.differing(),
        thresholds=tuple(thresholds(paired, families(arms), arms.last)),
        warnings=tuple(warnings(paired, arms.last)),
        bins=tuple(bin_losses(bins, arms.last)),
        partial=arms.partial,
    )


def measured_keys(values: pd.DataFrame) -> list[Key]:
    """All that was measured, without the human references."""
    columns = (values[name] for name in Key._fields)
    keys = dict.fromkeys(map(Key._make, zip(*columns, strict=True)))
    return [key for key in keys if key.split != "human"]


def chosen_keys(
    values: pd.DataFrame, metrics: Sequence[str], searched: Sequence[str] = ()
) -> list[Key]:
    """What is asked for, in that order, or the default and what a study's threshold is of.

    Raises:
        RunError: a name matches nothing that was measured.
    """
    there = measured_keys(values)
    if not metrics:
        default = [key for wanted in DEFAULT for key in there if key[1:] == (*wanted, "")]
        own = [key for key in there if key.metric not in METRICS or key.short in searched]
        return list(dict.fromkeys(default + own))
    chosen: dict[Key, None] = {}
    for pattern in metrics:
        found = [key for key in there if any(fnmatchcase(name, pattern) for name in key.names())]
        if not found:
            names = ", ".join(dict.fromkeys(f"{key.metric}/{key.split}" for key in there))
            raise RunError(f"metric: {pattern}: was measured in no run; there are: {names}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


# --- one metric of one arm ------------------------------------------------------------------


def _of_arm(wide: pd.DataFrame, key: Key, arm: str) -> pd.DataFrame:
    """(seeds, generations) of one arm, NaN where there is no number."""
    place: Any = (*key, arm)
    nothing = wide.iloc[:0].droplevel([*Key._fields, "arm"])
    found: Any = wide.xs(place) if place in wide.index else nothing
    numbers: pd.DataFrame = found
    return numbers


def _human(key: Key, reference: pd.DataFrame) -> float | None:
    """The mean of human text over generations and seeds; held-out text is human already."""
    numbers = reference.to_numpy()
    if key.split == "held_out" or not np.isfinite(numbers).any():
        return None
    return float(np.nanmean(numbers))


def _paired(wide: pd.DataFrame, key: Key, arms: Arms, tolerance: float | None) -> Paired:
    """One metric of all arms, seed by seed."""
    values = {arm.name: _of_arm(wide, key, arm.name) for arm in arms.arms}
    controls = {name: arm.name for name, arm in arms.controls.items()}
    differences = {name: values[name] - values[control] for name, control in controls.items()}
    if tolerance is None:
        tolerance = arms.tolerances.get(key.short, noticeable(key.metric))
    return Paired(key, tolerance, values, controls, differences)


def _set_against(row: Row, paired: Paired, last: int) -> Row:
    """The row with what its pairs say; an infinite number is outside every tolerance."""
    every = paired.differences[row.arm].dropna(subset=[last])
    infinite = paired.infinite(row.arm, last)
    tolerance = paired.tolerance(row.arm, every.index, last)
    if math.isnan(tolerance):  # no seed with a number of the arm and a finite one of the control
        return replace(row, infinite=infinite)
    inside = bounds(row.key.metric, tolerance)
    later = [int(generation) for generation in every.columns[1:]]
    paths = every.to_numpy()[:, 1:]
    return replace(
        row,
        against=_against(every.loc[finite(every, last).index], last, inside),
        tolerance=tolerance,
        outside_from=inference.time_to_collapse(later, paths, inside) if later else None,
        infinite=infinite,
    )


def _against(every: pd.DataFrame, last: int, inside: tuple[float, float]) -> Against | None:
    """Differences (seeds, generations), finite in the last; None without a seed."""
    if not len(every):
        return None
    at_last, paths, generations = every[last], every.to_numpy(), list(map(int, every.columns))
    found = inference.paired_difference(at_last, np.zeros(len(at_last)))
    whole = len(generations) > 1 and np.isfinite(paths).all()
    return Against(
        difference=found.interval,
        p=found.p,
        sign_flips=inference.sign_flips(at_last),
        no_harm=inference.equivalence(at_last, inside),
        slope=inference.slope(generations, paths) if whole else None,
    )


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    """Both families of p, of differences and of no harm, adjusted over the table."""
    asked = [(row, row.against) for row in rows if row.against is not None]
    differs = inference.adjust([against.p for _, against in asked])
    harmless = inference.adjust([against.no_harm.p for _, against in asked])
    changed = {}
    for (row, against), p, p_no_harm in zip(asked, differs, harmless, strict=True):
        no_harm = against.no_harm._replace(p=float(p_no_harm))
        changed[id(row)] = replace(row, against=replace(against, p=float(p), no_harm=no_harm))
    return [changed.get(id(row), row) for row in rows]


def _absent(values: pd.DataFrame, keys: Sequence[Key]) -> list[str]:
    """Why seeds have no number; `values` of one generation."""
    rows = values[~np.isfinite(values["value"])]
    seeds: dict[tuple[str, str, str], list[int]] = {}
    columns = (rows[name] for name in (*Key._fields, "arm", "note", "seed"))
    for *name, arm, note, seed in zip(*columns, strict=True):
        if Key(*name) in keys:
            seeds.setdefault((Key(*name).label, arm, note or "infinite"), []).append(seed)
    return [
        f"{label}: no number of {arm}, seed {', '.join(map(str, each))}: {note}."
        for (label, arm, note), each in seeds.items()
    ]
