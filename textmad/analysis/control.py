"""The choice of the control: one arm for all others, or one for each of a study's arms."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textmad.errors import RunError

if TYPE_CHECKING:
    from textmad.analysis.arm_settings import ArmRuns

# Words for the kinds of controls that a study puts beside its arms.
_TITLES = {
    "human": "human only",
    "twin": "matched random control",
    "imitation": "imitation alone",
    "labels": "random labels",
}
KINDS = tuple(_TITLES)


class PerArmControl(NamedTuple):
    """A control for each arm."""

    called: str
    of: Mapping[str, str]  # the control's name by the arm's


def choose_control(
    arms: Sequence[ArmRuns], asked: str | None, record: Mapping[str, Any]
) -> str | PerArmControl:
    """Return the name of the control of all other arms, or each one's own.

    Args:
        arms: those that have begun.
        asked: the name of an arm; one of its run folders; `human`, `twin`, `imitation` or `labels`,
            which in a study is the control of that kind that each arm has; None is the only arm
            that learns from human text alone and, where a study has several, each arm's own; in a
            study without one, imitation alone.
        record: study.yaml of a study's folder; empty for loose runs.

    Raises:
        RunError: there is no such arm, or no control of this kind, or several; or it has not begun;
            or it learns its text by heart and is not named.
    """
    names = "; ".join(arm.name for arm in arms)
    for arm in arms:
        folders = {run.path.resolve() for run in arm.runs.values()}
        if asked is not None and (arm.name == asked or Path(asked).resolve() in folders):
            return arm.name
    if asked in KINDS and record:
        return _own(asked, arms, record["arms"])
    if asked is not None and asked in record.get("arms", {}):
        raise RunError(_not_begun([asked]))
    if asked is not None:
        raise RunError(f"control: {asked}: is no arm and no run of one; the arms: {names}")
    human_arms = [arm for arm in arms if arm.recipe.is_human_only]
    human = [arm.name for arm in human_arms]
    if len(human) == 1:
        of_study = record.get("arms", {}).get(human[0], {}).get("control") == "human"
        if not of_study:
            _check_no_memorising(human_arms[0])
        return human[0]
    if human and record:
        return _own("human", arms, record["arms"])
    if not human and any(
        arm.get("control") == "imitation" for arm in record.get("arms", {}).values()
    ):
        return _own("imitation", arms, record["arms"])
    late = [name for name, arm in record.get("arms", {}).items() if arm.get("control") == "human"]
    if late and not human:
        raise RunError(_not_begun(late))
    learners = f"{len(human)} arms learn" if human else "no arm learns"
    raise RunError(
        f"control: {learners} from human text alone: expected the name of one; the arms: {names}"
    )


def _check_no_memorising(arm: ArmRuns) -> None:
    """Check that a control which nobody has named does not learn its documents by heart.

    Raises:
        RunError: its human text is fixed and each of its models continues the last one.
    """
    recipe = arm.recipe
    if recipe.mix.human == "fixed" and recipe.model.start_from == "previous" and recipe.generations:
        raise RunError(
            f"control: {arm.name} learns the same human text again in every generation "
            "(mix.human: fixed, model.start_from: previous), so it learns it by heart and can end "
            "up worse than an arm of model text: expected a run with mix.human: fresh; or name "
            f"this one (--control {shlex.quote(arm.name)}) if it is the control that you want"
        )


def _not_begun(controls: Sequence[str]) -> str:
    return (
        f"control: {'; '.join(controls)}: no run with a complete generation yet; the command that "
        "began the study resumes it, or name another arm as control"
    )


def _own(kind: str, arms: Sequence[ArmRuns], planned: Mapping[str, Any]) -> PerArmControl:
    begun = {arm.name for arm in arms}
    of: dict[str, str] = {}
    for control, arm in planned.items():
        for name in arm["of"] if arm.get("control") == kind and control in begun else ():
            if of.setdefault(name, control) != control:
                raise RunError(
                    f"control: {name} has several of the kind {kind}, {of[name]} and {control}: "
                    "expected the name of one"
                )
    if kind in ("human", "imitation"):  # an arm's other controls learn from as much text as it
        others = {
            name: arm["of"]
            for name, arm in planned.items()
            if arm.get("control") in {"twin", "imitation", "labels"} - {kind}
        }
        of |= {name: of[first] for name, (first, *_) in others.items() if first in of}
    of = {name: control for name, control in of.items() if name in begun}
    if not of:
        raise RunError(
            f"control: {kind}: no arm of this study has begun with a control of this kind beside "
            f"it; the arms: {'; '.join(sorted(begun))}"
        )
    return PerArmControl(f"its {_TITLES[kind]}", of)
