"""Arms that differ only in how much model text they learn from, and the critical share of it.

Arms are a family when their recipes agree in all but the token budgets, and one budget stays the
same: the sum, so that model text *replaces* human text, or the human tokens, so that it is *added*.
The control learns from human text alone, as many tokens as the sum or as the human tokens. Its
human text has to be fixed or fresh as theirs is, since fixed text is learned by heart and that harm
is not the model text's. Where model text accumulates (`mix.model: all`) the share is not constant,
and the arm is in no family.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import numpy as np

from textmad.analysis.pairs import LEVEL, Key, Paired, finite
from textmad.evaluators.metrics import bounds
from textmad.statistics import inference
from textmad.statistics.critical_share import CriticalShare, critical_share

if TYPE_CHECKING:
    from textmad.analysis.arm_settings import ArmRuns
    from textmad.analysis.arms import Arms
    from textmad.recipe import MixSettings

Meaning = Literal["replaced", "added"]
_WITHIN = ("mix.human_tokens", "mix.model_tokens", "mix.human")  # the last told apart by itself


@dataclass(frozen=True)
class Family:
    """Arms of one kind by their share of model text, ascending."""

    name: str  # what the arms' names have in common; empty where there is nothing to tell apart
    meaning: Meaning
    control: str
    shares: Mapping[str, float]  # by the arm's name


@dataclass(frozen=True)
class CriticalShareRow:
    """The critical share of one metric in one family.

    `from_human`: the metric is best at the value of human text, and that is known. Then a
    difference is how much further from human text an arm is than its control.
    """

    key: Key
    family: str
    meaning: Meaning
    control: str
    shares: tuple[float, ...]
    differences: tuple[
        inference.Difference, ...
    ]  # of each share; p adjusted (Holm) over the shares
    tolerance: float  # in the metric's unit
    bounds: tuple[float, float]  # the differences at which harm begins
    from_human: bool
    result: CriticalShare

    @property
    def helping(self) -> list[tuple[float, inference.Interval]]:
        """Return the shares whose benefit is supported; none where no side is better."""
        side = {"lower": -1, "higher": 1}.get(self.key.direction, 0)
        return [
            (share, each.interval)
            for share, each in zip(self.shares, self.differences, strict=True)
            if each.p < LEVEL and each.interval.estimate * side > 0
        ]


def families(arms: Arms) -> list[Family]:
    """Return the families among the arms that have a control, in the order of the arms."""
    same_human = [each for each, human in _candidates(arms) if human == _human(arms, each)]
    if len(same_human) < 2:
        return [replace(each, name="") for each in same_human]
    return same_human


def families_left_out(arms: Arms) -> list[str]:
    """Which arms would be a family, were their control's human text of their kind."""
    return [
        f"No critical share of {', '.join(each.shares)}: human text is {human} there and "
        f"{_human(arms, each)} in {each.control}, so more than model text sets them apart."
        for each, human in _candidates(arms)
        if human != _human(arms, each)
    ]


def _candidates(arms: Arms) -> Iterator[tuple[Family, str]]:
    """Arms that agree in all but their share, and whether their human text is fixed or fresh."""
    alike: dict[tuple[Meaning, str, frozenset[tuple[str, str]]], list[ArmRuns]] = {}
    for arm in arms.arms:
        if arm.name not in arms.controls:
            continue
        mix, control = arm.recipe.mix, arms.controls[arm.name]
        meaning = _meaning(mix, control.recipe.mix)
        if meaning and mix.model != "all" and arm.recipe.crawl is None:
            rest = frozenset(each for each in arm.settings.items() if each[0] not in _WITHIN)
            alike.setdefault((meaning, control.name, rest), []).append(arm)
    for (meaning, control_name, _), members in alike.items():
        mixed = [arm for arm in members if arm.recipe.mix.human_tokens]
        for human in dict.fromkeys(arm.recipe.mix.human for arm in mixed):
            # An arm without human text stands at the end of either kind's shares.
            own = [a for a in members if a not in mixed or a.recipe.mix.human == human]
            shares = {arm.name: arm.recipe.mix.model_share for arm in own}
            if len(set(shares.values())) == len(shares) > 1:
                ascending = dict(sorted(shares.items(), key=lambda each: each[1]))
                yield Family(_in_common(list(shares)), meaning, control_name, ascending), human


def _human(arms: Arms, family: Family) -> str:
    """Whether the human text of a family's control is fixed or fresh."""
    return arms.controls[next(iter(family.shares))].recipe.mix.human


def critical_shares(
    paired: Sequence[Paired], among: Sequence[Family], last: int
) -> list[CriticalShareRow]:
    """Return the critical share of every metric in every family that has numbers."""
    each = (_critical_share(metric, family, last) for metric in paired for family in among)
    return [row for row in each if row is not None]


def _critical_share(paired: Paired, family: Family, last: int) -> CriticalShareRow | None:
    """None where fewer than two shares have numbers of a common seed."""
    # A move towards human text is no harm, so both sides count only where it was not measured.
    harms = {arm: paired.harm(arm) for arm in family.shares}
    from_human = paired.key.direction == "human" and not any(h.two_sided for h in harms.values())
    columns = {
        arm: finite(harms[arm].values if from_human else paired.differences[arm], last)
        for arm in family.shares
    }
    measured = [arm for arm, column in columns.items() if len(column)]
    common = [set(columns[arm].index) for arm in measured]
    seeds = sorted(set.intersection(*common)) if common else []
    if len(measured) < 2 or not seeds:
        return None
    values = np.column_stack([columns[arm].loc[seeds].to_numpy() for arm in measured])
    shares = [family.shares[arm] for arm in measured]
    tolerance = paired.tolerance(measured[0], seeds, last)  # the control is the same in a family
    plain = [inference.paired_difference(column, np.zeros(len(seeds))) for column in values.T]
    adjusted = inference.adjust([each.p for each in plain])
    harmless = (-math.inf, tolerance) if from_human else bounds(paired.key.metric, tolerance)
    return CriticalShareRow(
        key=paired.key,
        family=family.name,
        meaning=family.meaning,
        control=family.control,
        shares=tuple(shares),
        differences=tuple(
            each._replace(p=float(p)) for each, p in zip(plain, adjusted, strict=True)
        ),
        tolerance=tolerance,
        bounds=harmless,
        from_human=from_human,
        result=critical_share(shares, values, harmless),
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
