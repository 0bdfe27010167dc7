"""Arms compared with a control over seeds: the numbers behind `textmad compare`.

Every number of an arm is paired with that of the control of the same seed and generation. For each
metric and arm at the last generation there are three questions: is there a difference (paired t
test, adjusted for the number of questions in the table), is harm beyond a tolerance ruled out
(equivalence, or non-inferiority where a metric has a better side), and from which generation on was
the arm outside the tolerance?
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.analysis.alarms import BIN_KEYS, bin_losses, early_warnings
from textmad.analysis.arms import Arms, gather_arms, runs_side_by_side
from textmad.analysis.comparison_result import (
    Against,
    Comparison,
    ComparisonRow,
    CrossedDifference,
    Curve,
)
from textmad.analysis.critical_shares import critical_shares, families, families_left_out
from textmad.analysis.hypotheses import judge_hypotheses
from textmad.analysis.pairs import Key, Paired, finite, over_seeds
from textmad.analysis.populations import inbreeding_effects
from textmad.analysis.quality_diversity import planes
from textmad.analysis.series import REFERENCES, document_counts, reference
from textmad.errors import RunError
from textmad.evaluators.metrics import METRICS, noticeable
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
    ("over_optimisation_gap", "drawn"),
)


def compare(
    folders: Sequence[str | Path],
    *,
    control: str | None = None,
    metrics: Sequence[str] = (),
    tolerance: float | None = None,
) -> Comparison:
    """Compare the arms in these folders with a control, and return the comparison.

    >>> import textmad as tm
    >>> result = tm.compare(["runs/upvotes"], metrics=["perplexity/held_out"])  # doctest: +SKIP
    >>> result.table[["arm", "difference", "difference_low", "p"]]  # doctest: +SKIP

    Args:
        folders: a study's folder, or run folders; runs that differ in the seed alone are
            replicates of one arm.
        control: the name of an arm, or one of its run folders; in a study `human` or `twin`, the
            control of that kind which each arm has; by default the only arm that learns from
            human text alone and, where a study has several, each arm's own.
        metrics: METRIC, METRIC/SPLIT or METRIC/SPLIT/BIN as metrics.parquet names them, with `*`
            for any part; by default the few that tell apart the ways to go mad, and all of the
            user's own evaluators.
        tolerance: largest change still counted as harmless, as a share of the control's value; by
            default 2 % (5 % for `rare_rate` and `base_perplexity`), and for the metric of a
            study's critical share the study's own.

    Raises:
        RunError: see `gather_arms`; no such metric; a tolerance that is not positive.
    """
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise RunError(f"tolerance: {tolerance}: expected a share above 0, such as 0.02")
    arms = gather_arms(folders, control)
    values = measured_values(arms)
    result = compare_values(values, arms, metrics, tolerance)
    return replace(
        result,
        planes=planes(Path(folders[0]), arms, values),
        runs=runs_side_by_side(arms),
        crossed=_crossed(arms),
        hypotheses=judge_hypotheses(Path(folders[0]), arms),
        inbreeding=inbreeding_effects(arms),
    )


def measured_values(arms: Arms) -> pd.DataFrame:
    """Return all metrics of all runs up to the last common generation, with arm and seed."""
    import pandas as pd

    tables = [
        run.metrics.assign(arm=arm.name, seed=seed)
        for arm in arms.arms
        for seed, run in arm.runs.items()
    ]
    together = pd.concat(tables, ignore_index=True)
    return together[together["generation"] <= arms.last]


def compare_values(
    values: pd.DataFrame, arms: Arms, metrics: Sequence[str] = (), tolerance: float | None = None
) -> Comparison:
    """Return the comparison of measured values; `values` as `measured_values` returns them."""
    keys = choose_keys(values, metrics, tuple(arms.tolerances))
    wide = values.pivot(
        index=[*Key._fields, "arm", "seed"], columns="generation", values="value"
    ).sort_index()
    paired = [_paired(wide, key, arms, tolerance) for key in keys]
    measured = set(measured_keys(values))
    bins = [_paired(wide, key, arms, tolerance) for key in BIN_KEYS if key in measured]
    references = values[values["split"].isin(REFERENCES)]
    rows, curves = [], []
    for each in paired:
        key = each.key
        for arm, numbers in each.values.items():
            means = over_seeds(numbers)
            human, base = (
                None if key.split == "held_out" else reference(_named(references, key, name, arm))
                for name in REFERENCES
            )
            row = ComparisonRow(key, arm, means.get(arms.last), human, base)
            rows.append(_with_control(row, each, arms.last) if arm in arms.controls else row)
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
            *_sizes(values, keys),
            *_absent(values[values["generation"] == arms.last], keys),
        ),
        settings=arms.differing(),
        critical_shares=tuple(critical_shares(paired, families(arms), arms.last)),
        warnings=tuple(early_warnings(paired, arms.last)),
        bins=tuple(bin_losses(bins, arms.last)),
        partial=arms.partial,
        own_text=all(arm.recipe.corpus.parts > 1 for arm in arms.arms),
    )


def measured_keys(values: pd.DataFrame) -> list[Key]:
    """Return the names of all that was measured, without the references."""
    columns = (values[name] for name in Key._fields)
    keys = dict.fromkeys(map(Key._make, zip(*columns, strict=True)))
    return [key for key in keys if key.split not in REFERENCES]


def choose_keys(
    values: pd.DataFrame, metrics: Sequence[str], searched: Sequence[str] = ()
) -> list[Key]:
    """Return what is asked for, in that order, or the default and the metric of a study's search.

    Raises:
        RunError: a name matches nothing that was measured.
    """
    measured = measured_keys(values)
    if not metrics:
        default = [key for wanted in DEFAULT for key in measured if key[1:] == (*wanted, "")]
        own = [key for key in measured if key.metric not in METRICS or key.short in searched]
        return list(dict.fromkeys(default + own))
    chosen: dict[Key, None] = {}
    for pattern in metrics:
        matching = [k for k in measured if any(fnmatchcase(name, pattern) for name in k.names())]
        if not matching:
            names = ", ".join(dict.fromkeys(f"{key.metric}/{key.split}" for key in measured))
            raise RunError(f"metric: {pattern}: was measured in no run; there are: {names}")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


# --- one metric of one arm ------------------------------------------------------------------


def _of_arm(wide: pd.DataFrame, key: Key, arm: str) -> pd.DataFrame:
    """(seeds, generations) of one arm, NaN where there is no number."""
    index: Any = (*key, arm)
    empty = wide.iloc[:0].droplevel([*Key._fields, "arm"])
    numbers: Any = wide.xs(index) if index in wide.index else empty
    frame: pd.DataFrame = numbers
    return frame


def _named(references: pd.DataFrame, key: Key, split: str, arm: str) -> pd.DataFrame:
    """The rows of one reference of one arm, of all seeds and generations."""
    same = references["arm"] == arm
    for column, value in key._replace(split=split)._asdict().items():
        same &= references[column] == value
    return references[same]


def _paired(wide: pd.DataFrame, key: Key, arms: Arms, tolerance: float | None) -> Paired:
    """One metric of all arms, seed by seed."""
    values = {arm.name: _of_arm(wide, key, arm.name) for arm in arms.arms}
    controls = {name: arm.name for name, arm in arms.controls.items()}
    differences = {name: values[name] - values[control] for name, control in controls.items()}
    if tolerance is None:
        tolerance = arms.tolerances.get(key.short, noticeable(key.metric))
    human = {
        name: table.where(np.isfinite(table)).mean(axis=1).dropna()
        for name in values
        if key.split != "held_out"
        and len(table := _of_arm(wide, key._replace(split="human"), name))
    }
    return Paired(key, tolerance, values, controls, differences, human)


def _with_control(row: ComparisonRow, paired: Paired, last: int) -> ComparisonRow:
    """The row with what its pairs support; an infinite number is outside every tolerance."""
    differences = paired.differences[row.arm].dropna(subset=[last])
    infinite = paired.infinite(row.arm, last)
    tolerance = paired.tolerance(row.arm, differences.index, last)
    if math.isnan(tolerance):  # no seed with a number of the arm and a finite one of the control
        return replace(row, infinite=infinite)
    harm = paired.harm(row.arm)
    inside = harm.bounds(tolerance)
    harms = harm.values.loc[differences.index]
    later = [int(generation) for generation in harms.columns[1:]]
    pairs = differences.loc[finite(differences, last).index]
    return replace(
        row,
        against=_against(pairs, harms.loc[pairs.index, last].to_numpy(), last, inside),
        tolerance=tolerance,
        outside_from=inference.time_to_collapse(later, harms.to_numpy()[:, 1:], inside)
        if later
        else None,
        infinite=infinite,
    )


def _against(
    pairs: pd.DataFrame, harms: np.ndarray, last: int, inside: tuple[float, float]
) -> Against | None:
    """What differences (seeds, generations), finite in the last, support; None without a seed."""
    if not len(pairs):
        return None
    at_last, paths, generations = pairs[last], pairs.to_numpy(), list(map(int, pairs.columns))
    difference = inference.paired_difference(at_last, np.zeros(len(at_last)))
    whole = len(generations) > 1 and np.isfinite(paths).all()
    return Against(
        difference=difference.interval,
        p=difference.p,
        sign_flips=inference.sign_flips(at_last),
        no_harm=inference.equivalence(harms, inside),
        slope=inference.slope(generations, paths) if whole else None,
    )


def _crossed(arms: Arms) -> tuple[CrossedDifference, ...]:
    """Held-out loss of each arm less its control's, over seeds and documents that both vary."""
    crossed, last = [], arms.last
    by_name = {arm.name: arm.runs for arm in arms.arms}
    for name, control in arms.controls.items():
        tables = [
            (run.held_out_losses(last), control.runs[seed].held_out_losses(last))
            for seed, run in by_name[name].items()
            if seed in control.runs
        ]
        pairs = [(a, b) for a, b in tables if a is not None and b is not None]
        if len(pairs) < 2:
            continue
        joined = [a.join(b.add_suffix("_control"), how="inner") for a, b in pairs]
        common = sorted(set.intersection(*(set(table.index) for table in joined)))
        nats = [t.loc[common, ["nats", "nats_control"]].to_numpy() for t in joined]
        if len(common) < 2 or not np.isfinite(nats).all():  # a count without smoothing: infinite
            continue
        tokens = joined[0].loc[common, "tokens"].to_numpy(dtype=float)
        d = [
            (t.loc[common, "nats"] / t.loc[common, "tokens"]).to_numpy()
            - (t.loc[common, "nats_control"] / t.loc[common, "tokens_control"]).to_numpy()
            for t in joined
        ]
        interval = inference.crossed_interval(np.stack(d), tokens)
        crossed.append(CrossedDifference(name, interval, len(common)))
    return tuple(crossed)


def _adjusted(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Both families of p, of differences and of no harm, adjusted over the table."""
    asked = [(row, row.against) for row in rows if row.against is not None]
    differs = inference.adjust([against.p for _, against in asked])
    harmless = inference.adjust([against.no_harm.p for _, against in asked])
    changed = {}
    for (row, against), p, p_no_harm in zip(asked, differs, harmless, strict=True):
        no_harm = against.no_harm._replace(p=float(p_no_harm))
        changed[id(row)] = replace(row, against=replace(against, p=float(p), no_harm=no_harm))
    return [changed.get(id(row), row) for row in rows]


def _sizes(values: pd.DataFrame, keys: Sequence[Key]) -> list[str]:
    """On how many documents the metrics rest that depend on it."""
    counts = document_counts(values)
    return [
        f"{key.label}: each value compares {_count_words(*counts[key[1:]])} with as many human "
        "ones, and depends on that number."
        for key in keys
        if key[1:] in counts
    ]


def _count_words(low: int, high: int) -> str:
    return f"{low:,} documents" if low == high else f"{low:,} to {high:,} documents"


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
