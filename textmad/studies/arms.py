"""A study's arms: the base recipe, patched, moved along the axes, and their control arms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from textmad.components import TWIN
from textmad.errors import RecipeError
from textmad.faults import joined, shown
from textmad.mixture import compared_tokens
from textmad.recipe import Recipe, parse_recipe
from textmad.store import stage_key
from textmad.studies.settings import StudySettings, patch, points, read_study, refusal
from textmad.yaml_text import lay_over, read_settings

_LONGEST_NAME = 100


@dataclass(frozen=True)
class Arm:
    """A recipe under a name; a control arm knows the arms that it is put beside."""

    name: str
    recipe: Recipe  # its seed is not the arm's
    control: Literal["human", "twin"] | None = None
    of: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The name as a folder's: letters, digits, and _ . = + -."""
        return re.sub(r"[^\w.=+-]+", "-", self.name, flags=re.ASCII).strip("-.")


class PlannedRun(NamedTuple):
    """A run of a study, begun or not."""

    arm: str
    seed: int
    name: str  # as in voted/seed-0: its folder below runs/
    recipe: Recipe

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """Arms x seeds."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    def runs(self) -> list[PlannedRun]:
        """All runs in their order: seed by seed, so that early on there is something to compare."""
        return [
            PlannedRun(
                arm.name,
                seed,
                f"{arm.folder}/seed-{seed}",
                arm.recipe.model_copy(update={"seed": seed}),
            )
            for seed in self.seeds
            for arm in self.arms
        ]

    def dump(self) -> dict[str, Any]:
        """Plain data: the seeds, and every arm with its resolved recipe."""
        arms: dict[str, Any] = {}
        for arm in self.arms:
            recipe = {key: value for key, value in arm.recipe.dump().items() if key != "seed"}
            arms[arm.name] = {
                "folder": arm.folder,
                "control": arm.control,
                "of": list(arm.of),
                "recipe": recipe,
            }
        return {"seeds": list(self.seeds), "arms": arms}


def load_study(path: str | Path) -> Study:
    """Read a study file; the base recipe's path is relative to it.

    Raises:
        RecipeError: it cannot be read, or anything in it is refused; the message names every fault
            of the study and of the recipe of every arm.
    """
    return parse_study(read_settings(Path(path)), str(path), Path(path).parent)


def parse_study(data: Mapping[str, Any], where: str, folder: Path) -> Study:
    """The study that plain data describes.

    Args:
        data: as it stands in YAML; `recipe` may be the settings themselves.
        where: opens the error message.
        folder: what the path of the base recipe is relative to.

    Raises:
        RecipeError: as `load_study`.
    """
    settings, faults = read_study(data)
    if settings is None:
        raise refusal(where, faults)
    try:
        arms, more = _patched(settings, folder)
    except RecipeError as error:
        raise refusal(where, [*faults, f"recipe: {error}"]) from None
    if not faults and not more:
        more = [*_same_recipe(arms), *_same_folder(arms), *_compared_unequally(arms)]
    if not faults and not more:
        arms = _with_controls(arms, settings)
        more = _same_folder(arms)
    if faults or more:
        raise refusal(where, [*faults, *more])
    return Study(tuple(arms), settings.seeds)


# --- patches and axes -----------------------------------------------------------------------


def _patched(settings: StudySettings, folder: Path) -> tuple[list[Arm], list[str]]:
    """Every arm at every point of the grid, and the faults of their recipes.

    A fault is put down to where it comes in: the base recipe, the arm's patch, or an axis.
    """
    base = settings.base(folder)
    arms: list[Arm] = []
    found: list[str] = []
    in_base = dict.fromkeys(_faults(base), "recipe")
    grid = points(settings.axes)
    for name, changes in (settings.arms or {"": {}}).items():
        data = deepcopy(base)
        try:
            patch(data, changes)
        except RecipeError as error:
            found.append(joined(f"arms.{name}", str(error)))
            continue
        in_arm = {**dict.fromkeys(_faults(data), f"arms.{name}"), **in_base}
        for point in grid:
            arm_name = " ".join([*filter(None, [name]), *_point_names(point)]) or "base"
            cell = deepcopy(data)
            try:
                for path, value in point.items():
                    lay_over(cell, path, deepcopy(value))
                arms.append(Arm(arm_name, parse_recipe({**cell, "seed": 0}, where=arm_name)))
            except RecipeError as error:
                found += [
                    joined(in_arm[line], line) if line in in_arm else _moved(line, point, arm_name)
                    for line in _lines(error)
                ]
    return arms, list(dict.fromkeys(found))


def _faults(data: Mapping[str, Any]) -> list[str]:
    try:
        parse_recipe(data, where="")
    except RecipeError as error:
        return _lines(error)
    return []


def _lines(error: RecipeError) -> list[str]:
    """The faults in a refused recipe's message, or the one that a path gave."""
    first, *faults = str(error).splitlines()
    return [line.strip() for line in faults] or [first]


def _moved(line: str, point: Mapping[str, Any], arm_name: str) -> str:
    """A fault that an axis brings in: of the setting that it moves, or in the arm as a whole."""
    is_its_own = any(line.startswith((f"{path}:", f"{path}.")) for path in point)
    return joined("axes", line) if is_its_own else f"axes: {arm_name}: {line}"


def _point_names(point: Mapping[str, Any]) -> Iterator[str]:
    """A point of the grid in words, as in human_tokens=0; paths as short as can be told apart."""
    last = [path.rpartition(".")[2] for path in point]
    for (path, value), name in zip(point.items(), last, strict=True):
        yield f"{name if last.count(name) == 1 else path}={shown(value)}"


# --- controls -------------------------------------------------------------------------------


def _with_controls(arms: list[Arm], settings: StudySettings) -> list[Arm]:
    """The arms and, after them, the controls that are not among them already."""
    asked = settings.controls
    human = [(arm, _human_only(arm.recipe, asked.human)) for arm in arms if asked.human != "none"]
    found: dict[str, Arm] = {}
    for arm, recipe in human:
        if recipe is not None:
            control = found.setdefault(_key(recipe), Arm(arm.name, recipe, "human"))
            found[_key(recipe)] = replace(control, of=(*control.of, arm.name))
    for number, control in enumerate(found.values()):
        # The first one's name stays as it is when arms are added to the study.
        name = f"human only of {control.name}" if number else "human only"
        arms = _beside(arms, replace(control, name=name))
    for arm in list(arms) if asked.twins else []:
        if arm.control is None:
            for twin in _twins(arm):
                arms = _beside(arms, twin)
    return arms


def _beside(arms: list[Arm], control: Arm) -> list[Arm]:
    """The arms with this control; an arm of the same recipe is made it instead."""
    for place, arm in enumerate(arms):
        if _key(arm.recipe) == _key(control.recipe):
            of = tuple(name for name in dict.fromkeys((*arm.of, *control.of)) if name != arm.name)
            known = replace(arm, control=arm.control or control.control, of=of)
            return [*arms[:place], known, *arms[place + 1 :]]
    return [*arms, control]


def _human_only(recipe: Recipe, human: str) -> Recipe | None:
    """As many tokens of human text, as many generations, compared on as much text."""
    mix, sample = recipe.mix, recipe.sample
    if mix.model_tokens == 0:
        return None  # it learns from human text alone itself
    data = recipe.dump()
    data["mix"] = {
        "human_tokens": mix.human_tokens + mix.model_tokens,
        "model_tokens": 0,
        "human": mix.human if human == "recipe" else human,
    }
    data["sample"] |= {"oversample": 1.0, "min_tokens": compared_tokens(mix, sample)}
    data["curate"] = []
    return parse_recipe(data, where="human only")


def _twins(arm: Arm) -> list[Arm]:
    """For each filter that is not at random itself: the arm with its random twin in its place."""
    curate = [component.dump() for component in arm.recipe.curate]
    names = [component.name for component in arm.recipe.curate]
    places = [i for i, name in enumerate(names) if name != "random" and not name.startswith(TWIN)]
    twins = []
    for place in places:
        title = names[place] if names.count(names[place]) == 1 else f"{names[place]} {place}"
        component = {TWIN + names[place]: arm.recipe.curate[place].options}
        changed = [*curate[:place], component, *curate[place + 1 :]]
        recipe = arm.recipe.replace(curate=changed)
        name = f"{arm.name} twin" if len(places) == 1 else f"{arm.name} twin {title}"
        twins.append(Arm(name, recipe, "twin", (arm.name,)))
    return twins


# --- faults between arms --------------------------------------------------------------------


def _same_recipe(arms: Sequence[Arm]) -> list[str]:
    return [
        f"arms: {first} and {second} are one and the same recipe; change one, or delete it"
        for first, second in _pairs(arms, lambda arm: _key(arm.recipe))
    ]


def _same_folder(arms: Sequence[Arm]) -> list[str]:
    faults = [
        f"arms: {first} and {second} would be in one folder; rename one"
        for first, second in _pairs(arms, lambda arm: arm.folder.casefold())
    ]
    for arm in arms:
        if not arm.folder or len(arm.folder) > _LONGEST_NAME:
            faults.append(
                f"arms: {shown(arm.name)}: expected a name of 1 to {_LONGEST_NAME} letters, "
                "digits, and _ . = + -"
            )
    return faults


def _compared_unequally(arms: Sequence[Arm]) -> list[str]:
    """What is set side by side has to be compared on equally many tokens."""
    tokens = {arm.name: compared_tokens(arm.recipe.mix, arm.recipe.sample) for arm in arms}
    fewest = min(tokens, key=lambda name: tokens[name])
    most = max(tokens, key=lambda name: tokens[name])
    if tokens[fewest] == tokens[most]:
        return []
    return [
        f"sample.min_tokens: text is compared on {tokens[fewest]:,} tokens in {fewest} and on "
        f"{tokens[most]:,} in {most}; set it to {tokens[fewest]} in the recipe"
    ]


def _key(recipe: Recipe) -> str:
    return stage_key(recipe.dump())


def _pairs(arms: Sequence[Arm], kind: Callable[[Arm], str]) -> Iterator[tuple[str, str]]:
    """Each arm that is of the same kind as an earlier one, behind that one."""
    first: dict[str, Arm] = {}
    for arm in arms:
        earlier = first.setdefault(kind(arm), arm)
        if earlier is not arm:
            yield earlier.name, arm.name
