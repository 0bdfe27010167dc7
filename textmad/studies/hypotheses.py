"""Hypotheses of a study: which arms, which generation and which tolerance each of them means."""

from __future__ import annotations

from collections.abc import Sequence

from textmad.recipe.validation_errors import printable, shown, suggestion
from textmad.studies.arms import TEXTS, Arm, Hypothesis, arm_key
from textmad.studies.measured import unmeasured
from textmad.studies.settings import HypothesisSettings, StudySettings

_KINDS = ("human", "twin", "imitation", "labels")  # of controls, as `compare --control` names them
_SAMPLED = ("drawn", "kept")  # splits that have a text of reference


def resolve_hypotheses(
    settings: StudySettings, arms: Sequence[Arm]
) -> tuple[tuple[Hypothesis, ...], list[str]]:
    """Return the hypotheses about these arms, and their faults.

    Args:
        settings: of the study.
        arms: all of them, controls too.
    """
    hypotheses: list[Hypothesis] = []
    faults: list[str] = []
    for name, each in settings.hypotheses.items():
        path = f"hypotheses.{printable(name)}"
        found = _faults(path, each, arms)
        if not found:
            hypothesis = _resolved(name, each, arms, settings.seeds)
            same = [h.name for h in hypotheses if _claim(h) == _claim(hypothesis)]
            found = [f"{path}: claims the same as {same[0]}; delete one"] if same else []
            hypotheses.append(hypothesis)
        faults += found
    return tuple(hypotheses), faults


def _claim(hypothesis: Hypothesis) -> dict[str, object]:
    """What has to differ between two hypotheses."""
    return {key: value for key, value in hypothesis.dump().items() if key != "level"}


def _resolved(
    name: str, each: HypothesisSettings, arms: Sequence[Arm], seeds: tuple[int, ...]
) -> Hypothesis:
    against = each.against
    if _is_kind(against, arms):
        (against,) = _controls(each.against, each.arm, arms)
    involved = [arm for name in (each.arm, against) for arm in arms if arm.name == name]
    last = min(arm.recipe.generations for arm in involved)
    return Hypothesis(
        name=name,
        metric=each.metric,
        arm=each.arm,
        against=against,
        direction=each.direction,
        tolerance=each.allowed,
        level=each.level,
        generation=last if each.generation is None else each.generation,
        seeds=seeds,
        recipes=tuple(arm_key(arm.recipe) for arm in involved),
    )


def _is_kind(against: str, arms: Sequence[Arm]) -> bool:
    """Whether it is a kind of control and no arm's name, which goes first."""
    return against in _KINDS and all(arm.name != against for arm in arms)


def _controls(kind: str, arm: str, arms: Sequence[Arm]) -> list[str]:
    """Names of the arm's controls of a kind; those of its arm for a matched control."""
    of = [arm] + [name for each in arms if each.name == arm for name in each.of[:1]]
    for name in of if kind == "human" else of[:1]:
        found = [each.name for each in arms if each.control == kind and name in each.of]
        if found:
            return found
    return []


def _faults(path: str, each: HypothesisSettings, arms: Sequence[Arm]) -> list[str]:
    by_name = {arm.name: arm for arm in arms}
    against = each.against
    faults = [
        *_unknown(f"{path}.arm", each.arm, by_name),
        *(
            []
            if against in (*_KINDS, *TEXTS)
            else _unknown(f"{path}.against", against, [*by_name, *_KINDS, *TEXTS])
        ),
    ]
    if faults:
        return faults
    if against in TEXTS and against in by_name:
        return [f"{path}.against: {against}: is the name of an arm too; rename the arm"]
    if _is_kind(against, arms):
        controls = _controls(against, each.arm, arms)
        if len(controls) != 1:
            has = f"several of these, {', '.join(controls)}" if controls else "no such control"
            return [f"{path}.against: {against}: {each.arm} has {has}: expected the name of an arm"]
        against = controls[0]
    if against == each.arm:
        return [f"{path}.against: {against}: is the arm itself: expected another"]
    split = each.metric.split("/")[1]
    if against in TEXTS and split not in _SAMPLED:
        return [
            f"{path}.against: {against}: {each.metric} is not measured on such a text: expected a "
            f"metric on {' or '.join(_SAMPLED)}, or an arm"
        ]
    involved = [by_name[name] for name in (each.arm, against) if name in by_name]
    faults = [
        fault
        for arm in involved
        for fault in unmeasured(
            f"{path}.metric",
            each.metric,
            [component.name for component in arm.recipe.evaluate],
            f" in {arm.name}",
        )
    ]
    last = min(arm.recipe.generations for arm in involved)
    if each.generation is not None and each.generation > last:
        faults.append(f"{path}.generation: {each.generation}: expected at most {last}")
    elif not last:
        faults.append(f"{path}.generation: there is none after 0: expected generations above 0")
    return faults


def _unknown(path: str, name: str, known: Sequence[str] | dict[str, Arm]) -> list[str]:
    if name in known:
        return []
    return [
        f"{path}: {shown(name)}: expected one of {', '.join(known)}{suggestion(name, list(known))}"
    ]
