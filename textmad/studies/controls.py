"""Control arms: the same without the model's own text, and the same with chance for a filter.

An arm that learns by preference has others: imitation of what was accepted and nothing else,
random labels, and the model before any preference learning at a series of temperatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from textmad.errors import RecipeError
from textmad.mixture import compared_tokens, training_tokens
from textmad.recipe import Recipe, parse_recipe
from textmad.recipe.components import TWIN, Component, find_component
from textmad.studies.arms import Arm, recipe_key
from textmad.studies.settings import ControlSettings


def with_controls(arms: Sequence[Arm], asked: ControlSettings) -> list[Arm]:
    """Return the arms and, after them, the controls that are not among them already.

    Raises:
        RecipeError: see `control_reads`.
    """
    arms = list(arms)
    human = [(arm, _human_only(arm, asked)) for arm in arms if asked.human != "none"]
    controls: dict[str, Arm] = {}
    for arm, recipe in human:
        if recipe is not None:
            control = controls.setdefault(recipe_key(recipe), Arm(arm.name, recipe, "human"))
            controls[recipe_key(recipe)] = replace(control, of=(*control.of, arm.name))
    for number, control in enumerate(controls.values()):
        # The first one's name stays as it is when arms are added to the study.
        name = f"human only of {control.name}" if number else "human only"
        arms = _beside(arms, replace(control, name=name))
    for arm in list(arms):
        if arm.control is None:
            for control in own_controls(arm, asked):
                arms = _beside(arms, control)
    for sweep in temperature_sweep(arms, asked):
        arms = _beside(arms, sweep)
    return arms


def own_controls(arm: Arm, asked: ControlSettings) -> list[Arm]:
    """Return the controls of an arm that no other arm shares.

    Those of an arm that learns by preference: with random labels its filters decide nothing.
    """
    if arm.recipe.train.preference is None:
        return twins(arm) if asked.twins else []
    if not asked.preference:
        return []
    controls = []
    if arm.recipe.mix.model_tokens:  # else nothing of what was accepted is imitated
        imitation = arm.recipe.replace(train={"preference": None})
        controls.append(Arm(f"{arm.name} imitation", imitation, "imitation", (arm.name,)))
    if arm.recipe.train.preference.labels != "random":
        labels = arm.recipe.replace(train={"preference": {"labels": "random"}})
        controls.append(Arm(f"{arm.name} random labels", labels, "labels", (arm.name,)))
    return controls


def temperature_sweep(arms: Sequence[Arm], asked: ControlSettings) -> list[Arm]:
    """Return the model before preference learning at each temperature, once for arms alike in it.

    Generation 0 of an arm, sampled, judged and measured as the arm is: the curve on the plane of
    quality and diversity that preference learning has to beat (Caccia et al., "Language GANs
    falling short", 1811.02549).
    """
    untuned: dict[str, Arm] = {}
    for arm in arms:
        if arm.control is None and arm.recipe.train.preference is not None:
            recipe = arm.recipe.replace(train={"preference": None}, generations=0)
            known = untuned.setdefault(recipe_key(recipe), Arm(arm.name, recipe, "temperature"))
            untuned[recipe_key(recipe)] = replace(known, of=(*known.of, arm.name))
    return [
        replace(
            arm,
            name=f"temperature {temperature:g}" + (f" of {arm.name}" if number else ""),
            recipe=arm.recipe.replace(sample={"temperature": temperature}),
        )
        for number, arm in enumerate(untuned.values())
        for temperature in asked.temperatures
    ]


def _beside(arms: list[Arm], control: Arm) -> list[Arm]:
    """The arms with this control; an arm of the same recipe is made it instead."""
    for place, arm in enumerate(arms):
        if recipe_key(arm.recipe) == recipe_key(control.recipe):
            of = tuple(name for name in dict.fromkeys((*arm.of, *control.of)) if name != arm.name)
            known = replace(arm, control=arm.control or control.control, of=of)
            return [*arms[:place], known, *arms[place + 1 :]]
    return [*arms, control]


def control_reads(arm: Arm, asked: ControlSettings) -> Literal["fixed", "fresh"]:
    """Return how the human-only control of an arm reads human text: fixed or fresh.

    Unless the study names it, the control reads as the arm does, and fresh text where the arm
    reads none. A chain of models that continue one another learns fixed text by heart: its
    held-out loss rises above that of the arm, and the difference changes its sign.

    Raises:
        RecipeError: the control would be such a chain, and the study has not named it.
    """
    mix = arm.recipe.mix
    if asked.human in ("fixed", "fresh"):
        return asked.human
    if not mix.human_tokens or mix.human == "fresh":
        return "fresh"
    if arm.recipe.model.start_from == "previous":
        raise RecipeError(
            f"controls.human: recipe: in {arm.name} mix.human is fixed and model.start_from is "
            "previous, so the human-only control would learn the same documents by heart, "
            "generation after generation, and could end up worse than an arm of model text: set "
            "controls.human to fresh; or to fixed, if this is the control that you want"
        )
    return "fixed"


def _human_only(arm: Arm, asked: ControlSettings) -> Recipe | None:
    """As many tokens of human text, as many generations, compared on as much text."""
    recipe = arm.recipe
    mix, sample = recipe.mix, recipe.sample
    tokens = training_tokens(mix, 0) if asked.tokens == "all" else mix.human_tokens
    if recipe.is_human_only or not tokens:
        return None
    data = recipe.dump()
    data["mix"] = {
        "human_tokens": tokens,
        "model_tokens": 0,
        "human": control_reads(arm, asked),
    }
    data["sample"] |= {"oversample": 1.0, "min_tokens": compared_tokens(mix, sample)}
    data["curate"], data["crawl"] = [], None
    data["train"]["preference"] = None
    if recipe.population is not None:  # as many members of the same kinds, who are no kin
        kept = ("members", "each", "communities")
        data["population"] = {name: data["population"][name] for name in kept}
    return parse_recipe(data, where="human only")


def twins(arm: Arm) -> list[Arm]:
    """For each filter that is not at random itself: the arm with its random twin in its place."""
    recipe = arm.recipe
    guards = recipe.crawl.guard if recipe.crawl else ()
    found: list[tuple[str, dict[str, Any]]] = [
        *((name, {"curate": changed}) for name, changed in _each_twin(recipe.curate)),
        *((f"guard {name}", {"crawl": {"guard": changed}}) for name, changed in _each_twin(guards)),
    ]
    return [
        Arm(
            f"{arm.name} twin" if len(found) == 1 else f"{arm.name} twin {name}",
            recipe.replace(**change),
            "twin",
            (arm.name,),
        )
        for name, change in found
    ]


def _each_twin(filters: Sequence[Component]) -> Iterator[tuple[str, list[Component]]]:
    """The filters with one of them made its twin, and the name of that one."""
    names = [component.name for component in filters]
    for place, component in enumerate(filters):
        if component.name == "random" or component.name.startswith(TWIN):
            continue
        if getattr(find_component(component.name, "filter"), "keeps_all", False):
            continue
        twin = Component(name=TWIN + component.name, options=component.options)
        title = component.name if names.count(component.name) == 1 else f"{component.name} {place}"
        yield title, [*filters[:place], twin, *filters[place + 1 :]]
