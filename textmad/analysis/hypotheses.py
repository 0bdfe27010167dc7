"""Hypotheses tested on finished runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from textmad.analysis.arms import Arms
from textmad.analysis.pairs import Key
from textmad.analysis.series import Reference, reference
from textmad.statistics import inference
from textmad.studies.arms import TEXTS, Hypothesis, arm_key
from textmad.studies.registration import Registered, read_versions, registered

if TYPE_CHECKING:
    import pandas as pd

    Metrics = Mapping[str, Mapping[int, pd.DataFrame]]
    """The metrics of runs by the arm's name and by seed."""


class Pairs(NamedTuple):
    """Differences of a hypothesis, seed by seed, or why there are none."""

    differences: tuple[float, ...]
    bounds: tuple[float, float]  # between which the hypothesis says that the mean lies
    why_not: str = ""


@dataclass(frozen=True)
class HypothesisTest:
    """What a study says of one of its hypotheses."""

    registered: Registered
    pairs: Pairs
    p: float  # adjusted (Holm); NaN where it is not tested
    questions: int  # that p is adjusted for

    @property
    def hypothesis(self) -> Hypothesis:
        """Return the claim."""
        return self.registered.hypothesis

    @property
    def difference(self) -> inference.Interval:
        """Return the mean difference with its 95 % interval; NaN where it is not tested."""
        if not self.pairs.differences:
            return inference.Interval(math.nan, math.nan, math.nan, 0)
        return inference.mean_interval(self.pairs.differences)

    @property
    def supported(self) -> bool:
        """Return whether the claim is supported at its level."""
        return self.p < self.hypothesis.level


def key_of(hypothesis: Hypothesis) -> Key:
    """Return the metric of a hypothesis, without an evaluator."""
    metric, split, *rest = hypothesis.metric.split("/")
    return Key("", metric, split, "".join(rest))


def judge_hypotheses(folder: Path, arms: Arms) -> tuple[HypothesisTest, ...]:
    """Return the tests of all hypotheses that were registered in a study's folder.

    Those fixed before any result are adjusted among themselves; each later one for all of them.
    One that cannot be tested yet is counted all the same, so the others do not gain by it.
    """
    asked = registered(read_versions(folder))
    metrics = metrics_of(arms, [each.hypothesis for each in asked])
    pairs = [_pairs(each.hypothesis, arms, metrics) for each in asked]
    raw = np.array([_p(each) for each in pairs])
    counted = np.where(np.isnan(raw), 1.0, raw)
    among = [place for place, each in enumerate(asked) if each.is_confirmatory]
    adjusted = inference.adjust(counted)
    adjusted[among] = inference.adjust(counted[among])
    adjusted[np.isnan(raw)] = math.nan
    return tuple(
        HypothesisTest(each, pair, float(p), len(among) if each.is_confirmatory else len(asked))
        for each, pair, p in zip(asked, pairs, adjusted, strict=True)
    )


def metrics_of(arms: Arms, hypotheses: Sequence[Hypothesis]) -> Metrics:
    """Return the metrics of the arms that the hypotheses are about."""
    involved = {name for each in hypotheses for name in (each.arm, each.against)}
    return {
        arm.name: {seed: run.metrics for seed, run in arm.runs.items()}
        for arm in arms.arms
        if arm.name in involved
    }


def _pairs(hypothesis: Hypothesis, arms: Arms, metrics: Metrics) -> Pairs:
    recipes = {arm.name: arm_key(arm.recipe) for arm in arms.arms}
    for name, key in zip(arm_names(hypothesis), hypothesis.recipes, strict=True):
        if recipes.get(name, key) != key:
            return _none(f"{name} has another recipe than was registered")
    return differences_of(hypothesis, metrics, hypothesis.seeds)


def arm_names(hypothesis: Hypothesis) -> list[str]:
    """Return the arm, and the one that it is compared with, if that is one."""
    return [name for name in (hypothesis.arm, hypothesis.against) if name not in TEXTS]


def differences_of(hypothesis: Hypothesis, metrics: Metrics, seeds: Sequence[int]) -> Pairs:
    """Return the differences of these seeds at the hypothesis's generation."""
    if len(seeds) < 2:
        return _none("one seed supports nothing")
    own = _values(hypothesis, metrics.get(hypothesis.arm, {}), seeds)
    half_width = 0.0
    if hypothesis.against in TEXTS:
        found = [_text_value(hypothesis, metrics[hypothesis.arm][seed]) for seed in own]
        texts = [each for each in found if each is not None]
        other = dict(zip(own, (each.value for each in texts), strict=False))
        if hypothesis.direction != "equivalent" and texts:
            half_width = float(np.mean([each.half_width for each in texts]))
            if math.isnan(half_width):
                return _none(f"the {hypothesis.against} has no interval")
        if len(texts) < len(own):
            return _none(f"the {hypothesis.against} was not measured")
    else:
        other = _values(hypothesis, metrics.get(hypothesis.against, {}), seeds)
    for name, values in ((hypothesis.arm, own), (hypothesis.against, other)):
        missing = [seed for seed in seeds if seed not in values]
        if missing:
            return _none(
                f"{name} has no value at generation {hypothesis.generation} of seed "
                f"{_list(missing)}"
            )
        infinite = [seed for seed in seeds if not math.isfinite(values[seed])]
        if infinite:
            return _none(f"{name} has no finite value of seed {_list(infinite)}")
    tolerance = hypothesis.tolerance * abs(float(np.mean([other[seed] for seed in seeds])))
    return Pairs(
        tuple(own[seed] - other[seed] for seed in seeds),
        _bounds(hypothesis, tolerance + half_width),
    )


def _bounds(hypothesis: Hypothesis, tolerance: float) -> tuple[float, float]:
    if hypothesis.direction == "equivalent":
        return -tolerance, tolerance
    return (tolerance, math.inf) if hypothesis.direction == "higher" else (-math.inf, -tolerance)


def _values(
    hypothesis: Hypothesis, metrics: Mapping[int, pd.DataFrame], seeds: Iterable[int]
) -> dict[int, float]:
    """The metric at the hypothesis's generation by seed, as far as it is there."""
    key = key_of(hypothesis)
    found = {}
    for seed in seeds:
        if seed in metrics:
            rows = _rows(metrics[seed], key)
            values = rows.loc[rows["generation"] == hypothesis.generation, "value"]
            if len(values):
                found[seed] = float(values.iloc[0])
    return found


def _text_value(hypothesis: Hypothesis, metrics: pd.DataFrame) -> Reference | None:
    key = key_of(hypothesis)._replace(split=TEXTS[hypothesis.against])
    return reference(_rows(metrics, key))


def _rows(metrics: pd.DataFrame, key: Key) -> pd.DataFrame:
    same = metrics["metric"] == key.metric
    return metrics[same & (metrics["split"] == key.split) & (metrics["bin"] == key.bin)]


def _p(pairs: Pairs) -> float:
    if pairs.why_not:
        return math.nan
    return inference.equivalence(pairs.differences, pairs.bounds).p


def _none(why: str) -> Pairs:
    return Pairs((), (math.nan, math.nan), why)


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
