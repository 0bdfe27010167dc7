"""Arms that differ in how much model text they learn from, and the share of it that harms.

Arms are a family when their recipes agree in all but the token budgets, and one budget stays: the
sum, so that model text *replaces* human text, or the human tokens, so that it is *added*. In both
the control learns from no model text: from the sum, or from the human tokens, of human text. A
training set that grows (`mix.model: all`) has no share that stays, and is in no family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import numpy as np

from textmad import stats
from textmad.evaluators.metrics import bounds
from textmad.report.comparison import LEVEL, Key
from textmad.report.paired import Paired, finite
from textmad.thresholds import CriticalShare, critical_share

if TYPE_CHECKING:
    from textmad.recipe import MixSettings
    from textmad.report.arms import Arm, Arms

Meaning = Literal["replaced", "added"]
_BUDGETS = ("mix.human_tokens", "mix.model_tokens", "mix.human")


@dataclass(frozen=True)
class Family:
    """Arms of one kind by their share of model text, ascending."""

    name: str  # what the arms' names have in common; empty where there is nothing to tell apart
    meaning: Meaning
    shares: Mapping[str, float]  # by the arm's name


@dataclass(frozen=True)
class Threshold:
    """How much model text a family may hold before one metric leaves the tolerance."""

    key: Key
    family: str
    meaning: Meaning
    shares: tuple[float, ...]
    differences: tuple[stats.Difference, ...]  # of each share; p adjusted (Holm) over the shares
    tolerance: float  # in the metric's unit
    found: CriticalShare

    @property
    def helping(self) -> list[tuple[float, stats.Interval]]:
        """Shares that are shown to be better than none; nothing where no side is better."""
        side = {"lower": -1, "higher": 1}.get(self.key.direction, 0)
        return [
            (share, each.interval)
            for share, each in zip(self.shares, self.differences, strict=True)
            if each.p < LEVEL and each.interval.estimate * side > 0
        ]


def families(arms: Arms) -> list[Family]:
    """The families among the arms that are set against the control, in the order of the arms."""
    alike: dict[tuple[Meaning, str, frozenset[tuple[str, str]]], list[Arm]] = {}
    for arm in arms.arms:
        if arm.name not in arms.controls:
            continue
        mix, control = arm.recipe.mix, arms.controls[arm.name]
        meaning = _meaning(mix, control.recipe.mix)
        if meaning and mix.model != "all" and arm.recipe.crawl is None:
            rest = frozenset(each for each in arm.settings.items() if each[0] not in _BUDGETS)
            alike.setdefault((meaning, control.name, rest), []).append(arm)
    found = []
    for (meaning, *_), members in alike.items():
        shares = {arm.name: arm.recipe.mix.model_share for arm in members}
        # `mix.human` may differ where there is no human text, and only there.
        drawn = {arm.recipe.mix.human for arm in members if arm.recipe.mix.human_tokens}
        if len(set(shares.values())) == len(shares) > 1 and len(drawn) == 1:
            ascending = dict(sorted(shares.items(), key=lambda each: each[1]))
            found.append(Family(_in_common(list(shares)), meaning, ascending))
    return found if len(found) > 1 else [Family("", each.meaning, each.shares) for each in found]


def thresholds(paired: Sequence[Paired], among: Sequence[Family], last: int) -> list[Threshold]:
    """The critical share of every metric in every family, as far as there are numbers."""
    each = (_threshold(metric, family, last) for metric in paired for family in among)
    return [found for found in each if found is not None]


def _threshold(paired: Paired, family: Family, last: int) -> Threshold | None:
    """None where fewer than two shares have numbers of a common seed."""
    columns = {arm: finite(paired.differences[arm], last) for arm in family.shares}
    there = [arm for arm, column in columns.items() if len(column)]
    seeds = sorted(set.intersection(*(set(columns[arm].index) for arm in there))) if there else []
    if len(there) < 2 or not seeds:
        return None
    values = np.column_stack([columns[arm].loc[seeds].to_numpy() for arm in there])
    shares = [family.shares[arm] for arm in there]
    tolerance = paired.tolerance(there[0], seeds, last)  # the control is the same in a family
    plain = [stats.paired_difference(column, np.zeros(len(seeds))) for column in values.T]
    adjusted = stats.adjust([each.p for each in plain])
    return Threshold(
        key=paired.key,
        family=family.name,
        meaning=family.meaning,
        shares=tuple(shares),
        differences=tuple(
            each._replace(p=float(p)) for each, p in zip(plain, adjusted, strict=True)
        ),
        tolerance=tolerance,
        found=critical_share(shares, values, bounds(paired.key.metric, tolerance)),
    )


def _meaning(mix: MixSettings, human: MixSettings) -> Meaning | None:
    if human.model_tokens or not mix.model_tokens:
        return None
    if mix.human_tokens + mix.model_tokens == human.human_tokens:
        return "replaced"
    return "added" if mix.human_tokens == human.human_tokens else None


def _in_common(names: Sequence[str]) -> str:
    """What the names of a family's arms begin with, in whole words.

    >>> _in_common(["voted share=0.1", "voted share=0.9"]), _in_common(["share=0.1", "share=0.9"])
    ('voted', '')
    """
    words = zip(*(name.split() for name in names), strict=False)
    return " ".join(each[0] for each in takewhile(lambda e: len(set(e)) == 1, words)).rstrip(",")
