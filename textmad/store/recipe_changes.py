"""What may change in the recipe of a run that goes on: it may ask for more, never for less.

More generations, more evaluators and a larger `sample.oversample` or `crawl.oversample` change
nothing that was learned; `track` and `checkpoint_minutes` change no result at all. Everything else
would, and is an error. What is there already is known from the stages, not from the recipe before:
an extension that failed at once can be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from textmad.mixture import model_tokens_drawn
from textmad.recipe import Recipe
from textmad.store.manifest import Manifest, canonical, differences


class Extent(NamedTuple):
    """What a recipe asks for that a later start of the run may ask more of."""

    generations: int
    evaluate: list[Any]  # as in the recipe: names, or names with their settings
    oversample: float  # sample.oversample
    crawl_oversample: float | None  # None: the recipe has no crawl

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """The extent of a recipe."""
        crawl = None if recipe.crawl is None else recipe.crawl.oversample
        return cls(recipe.generations, recipe.dump()["evaluate"], recipe.sample.oversample, crawl)


def forbidden_changes(before: Recipe, now: Recipe, manifests: Iterable[Manifest]) -> list[str]:
    """List why a run cannot go on with the recipe `now`; empty where it can.

    Args:
        before: the recipe that the run has been made by.
        now: the recipe that it should go on with.
        manifests: of all stages that are committed.

    Returns:
        A line for each setting that differs, or that asks for less than there is.
    """
    same = Extent.of(before)
    unextended = now.model_copy(
        update={
            "generations": same.generations,
            "evaluate": before.evaluate,
            "track": before.track,  # what is displayed elsewhere changes nothing here
            "checkpoint_minutes": before.checkpoint_minutes,
            "sample": now.sample.model_copy(update={"oversample": same.oversample}),
        }
    )
    if now.crawl is not None and same.crawl_oversample is not None:
        crawl = now.crawl.model_copy(update={"oversample": same.crawl_oversample})
        unextended = unextended.model_copy(update={"crawl": crawl})
    manifests = list(manifests)
    return [
        *differences(before.dump(), unextended.dump()),
        *_fewer_generations(now, manifests),
        *_fewer_tokens(now, manifests),
        *_smaller_crawl(now, manifests),
        *_fewer_evaluators(now, manifests),
    ]


def _fewer_generations(now: Recipe, manifests: Sequence[Manifest]) -> list[str]:
    numbers = [re.match(r"gen-(\d+)/", manifest.stage) for manifest in manifests]
    last = max((int(number[1]) for number in numbers if number), default=0)
    if last <= now.generations:
        return []
    return [f"generations: {now.generations}: generation {last} is there: give at least {last}"]


def _fewer_tokens(now: Recipe, manifests: Sequence[Manifest]) -> list[str]:
    most: dict[int | None, int] = {}  # by member; None: a run of one model
    for m in manifests:
        member = m.inputs.get("member")
        most[member] = max(most.get(member, 0), m.inputs.get("num_tokens", 0))
    for member, num_tokens in most.items():
        recipe = now if member is None else now.of_member(member)
        wanted = model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl)
        if num_tokens > wanted:
            return [
                f"sample.oversample: {recipe.sample.oversample:g}: samples {wanted:,} tokens a "
                f"generation, there are {num_tokens:,} already: give as much as before, or more"
            ]
    return []


def _smaller_crawl(now: Recipe, manifests: Sequence[Manifest]) -> list[str]:
    crawls = [m.inputs["crawl"] for m in manifests if re.fullmatch(r"gen-\d+/crawl", m.stage)]
    most = max((crawl["oversample"] for crawl in crawls), default=0.0)
    if now.crawl is None or most <= now.crawl.oversample:
        return []
    return [
        f"crawl.oversample: {now.crawl.oversample:g}: a crawl was made with {most:g} already: give "
        "as much as before, or more"
    ]


def _fewer_evaluators(now: Recipe, manifests: Sequence[Manifest]) -> list[str]:
    wanted = {canonical(part) for part in now.dump()["evaluate"]}
    measured = [part for m in manifests for part in m.inputs.get("evaluate", [])]
    missing = [part for part in measured if canonical(part) not in wanted]
    names = dict.fromkeys(part if isinstance(part, str) else next(iter(part)) for part in missing)
    return [
        f"evaluate: {name}: has measured this run: keep it in the recipe, with the same settings"
        for name in names
    ]
