"""A study: arms, each a recipe under a name, by seeds, and the runs that these make."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from textmad.recipe import Recipe
from textmad.store import stage_key
from textmad.studies.settings import ControlSettings, ThresholdSettings

BASE = "base"  # the name of an only arm that has none
# None of these makes another arm: a seed is a replicate, a longer run begins as a shorter one,
# and what is measured does not change what is learned.
NO_ARM = ("seed", "generations", "evaluate", "track", "checkpoint_minutes")

# What a study may put beside an arm: human text alone; a matched random control; imitation of what
# was accepted, without preference learning; random labels; the untuned model at a temperature.
ControlKind = Literal["human", "twin", "imitation", "labels", "temperature"]

# What a hypothesis may compare an arm's text with that is no arm, and the split that measures it.
TEXTS = {"human text": "human", "base text": "base"}


@dataclass(frozen=True)
class Arm:
    """A recipe under a name; a control arm knows the arms that it is put beside."""

    name: str
    recipe: Recipe  # its seed is not the arm's
    control: ControlKind | None = None
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
class Search:
    """A critical share that is sought: of each family of arms that differ in their share alone."""

    settings: ThresholdSettings
    controls: ControlSettings
    families: tuple[Arm, ...]  # with the budgets that the shares are of

    def dump(self) -> dict[str, Any]:
        """Plain data, with the tolerance resolved."""
        return {**self.settings.model_dump(mode="json"), "tolerance": self.settings.allowed}


@dataclass(frozen=True)
class Hypothesis:
    """A claim about an arm, with everything resolved that a study file may leave open."""

    name: str
    metric: str  # METRIC/SPLIT or METRIC/SPLIT/BIN
    arm: str
    against: str  # another arm, or one of TEXTS
    direction: Literal["higher", "lower", "equivalent"]
    tolerance: float  # share of the other's value
    level: float
    generation: int
    seeds: tuple[int, ...]
    recipes: tuple[str, ...]  # keys of the recipes of `arm` and of the other arm

    def dump(self) -> dict[str, Any]:
        """Plain data, without the name."""
        data = {key: value for key, value in asdict(self).items() if key != "name"}
        return {**data, "seeds": list(self.seeds), "recipes": list(self.recipes)}


@dataclass(frozen=True)
class Study:
    """Arms x seeds; with a `search` more arms are placed as the figures of these say."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    search: Search | None = None
    hypotheses: tuple[Hypothesis, ...] = ()

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
        search = {"threshold": self.search.dump()} if self.search else {}
        return {"seeds": list(self.seeds), **search, "arms": arms}


def recipe_key(recipe: Recipe) -> str:
    """Equal for recipes that differ in nothing."""
    return stage_key(recipe.dump())


def arm_key(recipe: Recipe) -> str:
    """Equal for recipes that differ in nothing that would make them two arms."""
    return stage_key({key: value for key, value in recipe.dump().items() if key not in NO_ARM})
