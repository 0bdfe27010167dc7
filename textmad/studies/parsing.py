"""From a study file to its arms: the base recipe, patched, moved along the axes, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from textmad.errors import RecipeError
from textmad.mixture import compared_tokens
from textmad.recipe import Recipe, parse_recipe
from textmad.recipe.validation_errors import joined, shown
from textmad.recipe.yaml_text import lay_over, read_settings
from textmad.studies.arms import BASE, NO_ARM, Arm, Study, arm_key, recipe_key
from textmad.studies.controls import with_controls
from textmad.studies.critical_share import begin_search, laid_out
from textmad.studies.hypotheses import resolve_hypotheses
from textmad.studies.settings import StudySettings, invalid, patch, points, read_study

_LONGEST_NAME = 100


def is_study(path: str | Path) -> bool:
    """Whether a YAML file is a study and not a recipe.

    Raises:
        RecipeError: it cannot be read.
    """
    return "recipe" in read_settings(Path(path))


def load_study(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read a study file and return the study; the base recipe's path is relative to the file.

    `overrides` change settings of the study by path, those of its base recipe as `recipe.PATH`.

    Raises:
        RecipeError: it cannot be read, or anything in it is invalid; the message names every fault
            of the study and of the recipe of every arm.
    """
    data = read_settings(Path(path))
    if "recipe" not in data:
        _check_kind(path, data)
    for dotted, value in (overrides or {}).items():
        _override(data, dotted, value, Path(path).parent)
    return parse_study(data, str(path), Path(path).parent)


def _override(data: dict[str, Any], dotted: str, value: Any, folder: Path) -> None:
    group, _, setting = dotted.partition(".")
    if group in Recipe.model_fields and group not in StudySettings.model_fields:
        raise RecipeError(
            f"{dotted}: is no setting of a study; its base recipe's is recipe.{dotted}"
        )
    if group == "recipe" and setting and isinstance(data["recipe"], str):
        data["recipe"] = read_settings(folder / data["recipe"])
    lay_over(data, dotted, value)


def _check_kind(path: str | Path, data: Mapping[str, Any]) -> None:
    """A recipe, or a study's record, whose every line would else be an unknown setting."""
    if "cpu_threads" in data:
        raise RecipeError(
            f"{path}: is the record that `textmad study` writes into its --out: expected the study "
            "file that the study was begun with"
        )
    own, others = StudySettings.model_fields.keys(), Recipe.model_fields.keys()
    if data.keys() & others and not data.keys() & own:
        raise RecipeError(f"{path}: is a recipe, and no study: `textmad run` runs it")


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
        raise invalid(where, faults)
    try:
        arms, more = _patched(settings, folder)
    except RecipeError as error:
        raise invalid(where, [*faults, f"recipe: {error}"]) from None
    faults += more
    search = None
    if settings.threshold is not None and arms:
        try:
            search = begin_search(arms, settings.controls, settings.threshold)
            arms = list(laid_out(search, settings.seeds).arms)
        except RecipeError as error:
            faults += str(error).splitlines()
    faults += [*_same_recipe(arms), *_same_folder(arms), *_same_part(arms, settings.seeds)]
    # What else is at fault may be what would have made the arms alike in this.
    if all(line.startswith("seeds:") for line in faults):
        faults += _compared_unequally(arms)
    if not faults and search is None:
        try:
            arms = with_controls(arms, settings.controls)
            faults = _same_folder(arms)
        except RecipeError as error:
            faults = [str(error)]
    hypotheses, more = resolve_hypotheses(settings, arms) if not faults else ((), [])
    if faults := [*faults, *more]:
        raise invalid(where, faults)
    return Study(tuple(arms), settings.seeds, search, hypotheses)


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
            arm_name = " ".join([*filter(None, [name]), *_point_names(point)]) or BASE
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
    """The faults in an invalid recipe's message, or the one that a path gave."""
    first, *faults = str(error).splitlines()
    return [line.strip() for line in faults] or [first]


def _moved(line: str, point: Mapping[str, Any], arm_name: str) -> str:
    """A fault that an axis brings in: of the setting that it moves, or in the arm as a whole."""
    setting, _, what = line.partition(": ")
    is_its_own = any(
        line.startswith((f"{path}:", f"{path}."))
        or (what.startswith("unknown setting") and path.startswith(f"{setting}."))
        for path in point
    )
    return joined("axes", line) if is_its_own else f"axes: {arm_name}: {line}"


def _point_names(point: Mapping[str, Any]) -> Iterator[str]:
    """A point of the grid in words, as in human_tokens=0; paths as short as can be told apart."""
    last = [path.rpartition(".")[2] for path in point]
    for (path, value), name in zip(point.items(), last, strict=True):
        yield f"{name if last.count(name) == 1 else path}={shown(value)}"


# --- faults between arms --------------------------------------------------------------------


def _same_recipe(arms: Sequence[Arm]) -> list[str]:
    faults = []
    # Human-only controls that come by themselves are as long as the arms that they stand beside.
    chosen = [arm for arm in arms if arm.control != "human"]
    for first, second in _pairs(chosen, lambda arm: arm_key(arm.recipe)):
        what = "are one and the same recipe"
        if recipe_key(first.recipe) != recipe_key(second.recipe):
            what = f"differ in nothing but {' or '.join(NO_ARM[1:])}, which makes no other arm"
        faults.append(f"arms: {first.name} and {second.name} {what}; change one, or delete it")
    return faults


def _same_folder(arms: Sequence[Arm]) -> list[str]:
    faults = [
        f"arms: {first.name} and {second.name} would be in one folder; rename one"
        for first, second in _pairs(arms, lambda arm: arm.folder.casefold())
    ]
    for arm in arms:
        if not arm.folder or len(arm.folder) > _LONGEST_NAME:
            faults.append(
                f"arms: {shown(arm.name)}: expected a name of 1 to {_LONGEST_NAME} letters, "
                "digits, and _ . = + -"
            )
    return faults


def _same_part(arms: Sequence[Arm], seeds: Sequence[int]) -> list[str]:
    """Seeds that would read the same part of a corpus that is divided among them."""
    faults = []
    for parts in sorted({arm.recipe.corpus.parts for arm in arms} - {1}):
        num_read = len({seed % parts for seed in set(seeds)})
        if num_read < len(set(seeds)):
            faults.append(
                f"corpus.parts: {parts}: a run reads the part of its seed modulo {parts}, and of "
                f"{len(set(seeds))} seeds only {num_read} would have a part of their own: raise "
                "it, or choose other seeds"
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


def _pairs(arms: Sequence[Arm], kind: Callable[[Arm], str]) -> Iterator[tuple[Arm, Arm]]:
    """Each arm that is of the same kind as an earlier one, behind that one."""
    first: dict[str, Arm] = {}
    for arm in arms:
        earlier = first.setdefault(kind(arm), arm)
        if earlier is not arm:
            yield earlier, arm
