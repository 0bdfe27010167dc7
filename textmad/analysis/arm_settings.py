"""Recipes as flat settings, and names of arms from the settings that differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations
from typing import Any

from textmad.loop.run import Run
from textmad.recipe import Recipe
from textmad.studies.arms import NO_ARM

# Where names look first for what differs.
_TELLING = ("curate", "crawl", "mix", "model", "train", "sample", "corpus")
_MOST_IN_A_NAME = 3


@dataclass(frozen=True)
class ArmRuns:
    """Replicates under a name; each has at least one complete generation."""

    name: str
    runs: Mapping[int, Run]  # by seed, ascending

    @cached_property
    def recipe(self) -> Recipe:
        """Return the recipe of its first seed; the others differ in the seed alone."""
        return next(iter(self.runs.values())).recipe

    @cached_property
    def settings(self) -> dict[str, str]:
        """Return the settings that make the arm, by dotted path."""
        return flat_settings(self.recipe)


def flat_settings(recipe: Recipe) -> dict[str, str]:
    """Return the settings that make an arm, as dotted paths to short texts.

    Filters give their names under `curate` or `crawl.guard`, and each of their settings a path of
    its own.

    >>> settings = flat_settings(Recipe(curate=[{"upvotes": {"keep": 0.5}}]))
    >>> settings["curate"], settings["curate.upvotes.keep"]
    ('upvotes', '0.5')
    """
    data = {key: value for key, value in recipe.dump().items() if key not in NO_ARM}
    flat = _filters(data.pop("curate"), "curate")
    if data["crawl"] is not None:
        crawl = dict(data.pop("crawl"))
        flat |= _filters(crawl.pop("guard"), "crawl.guard") | _flat(crawl, "crawl")
    return flat | _flat(data)


def _filters(dumped: Sequence[Any], path: str) -> dict[str, str]:
    filters = [component(each) for each in dumped]
    names = [name for name, _ in filters]
    flat = {path: ", ".join(names) or "none"}
    for position, (name, settings) in enumerate(filters):
        once = names.count(name) == 1
        flat |= _flat(settings, f"{path}.{name}" if once else f"{path}.{position}.{name}")
    return flat


def component(dumped: str | Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """Return name and settings of a filter or an evaluator as a recipe has it."""
    return (dumped, {}) if isinstance(dumped, str) else next(iter(dumped.items()))


def differing_paths(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the paths that have more than one value, or exist in some only.

    Settings of a filter that some do not have are none: `curate` says already that it differs.

    >>> differing_paths([{"curate": "none"}, {"curate": "upvotes", "curate.upvotes.keep": "0.5"}])
    ['curate']
    """
    paths = dict.fromkeys(path for each in settings for path in each)
    return [path for path in paths if len(_values(path, settings)) > 1]


def _values(path: str, settings: Sequence[Mapping[str, str]]) -> set[str | None]:
    values = {each.get(path) for each in settings}
    parts = path.split(".")
    above = (".".join(parts[:length]) for length in range(1, len(parts)))
    if any(all(parent in each for each in settings) for parent in above):
        values.discard(None)
    return values


def short_names(settings: Sequence[Mapping[str, str]], differing: Sequence[str]) -> list[str]:
    """Return names of the fewest differing settings that tell all apart.

    >>> arms = [{"train.epochs": "1", "mix.model": "latest"}, {"train.epochs": "2",
    ...         "mix.model": "latest"}]
    >>> short_names(arms, ["train.epochs"])
    ['epochs=1', 'epochs=2']
    """
    telling = sorted(differing, key=lambda path: _TELLING.index(path.split(".")[0]))
    few = (combinations(telling, size) for size in range(1, _MOST_IN_A_NAME + 1))
    for chosen in chain(chain.from_iterable(few), [tuple(telling)]):
        names = [_name(each, chosen) for each in settings]
        if len(set(names)) == len(names) and all(names):
            return names
    assert len(settings) == 1, "settings that differ in nothing are one arm"
    return ["all runs"]


def _name(settings: Mapping[str, str], paths: Sequence[str]) -> str:
    short = [path.rsplit(".", 1)[-1] for path in paths]
    return ", ".join(
        f"{path if short.count(last) > 1 else last}={settings[path]}"
        for path, last in zip(paths, short, strict=True)
        if path in settings
    )


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        prefix = f"{path}." if path else ""
        below = (_flat(each, f"{prefix}{key}") for key, each in value.items())
        return {key: text for part in below for key, text in part.items()}
    if isinstance(value, float):
        return {path: repr(value).removesuffix(".0")}
    return {path: value if isinstance(value, str) else json.dumps(value)}
