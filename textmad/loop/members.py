"""The members of a run: made from its recipe and, in a population, brought together."""

from __future__ import annotations

from collections.abc import Sequence

from textmad import store
from textmad.loop.member import Member
from textmad.loop.population import Population, Relatives
from textmad.loop.stages import Stages
from textmad.models.distributed.distributed_scoring import DistributedScorer, Name
from textmad.models.opening import open_model
from textmad.models.protocol import LanguageModel, SupportsOtherSettings
from textmad.recipe import ModelSettings, Recipe


def make_members(whole: Member) -> tuple[Sequence[Member], Population | None]:
    """Return the members of a run, and their population: no member works without the others.

    Args:
        whole: the run as if it were one model's, which it is where there is no population.
    """
    settings = whole.recipe.population
    if settings is None:
        return [whole], None
    bases: list[tuple[ModelSettings, LanguageModel]] = [(whole.recipe.model, whole.base)]
    members = []
    for number in range(settings.members):
        recipe = whole.recipe.of_member(number)
        base = _base_of(recipe, bases)
        bases.append((recipe.model, base))
        has_own_base_text = whole.recipe.has_own_base_text(number)
        folder = store.RunFolder(whole.folder.path, number, has_own_base_text)
        run = whole.run.members[number]
        members.append(Member(recipe, folder, whole.progress, whole.shared, base, run))
    return members, _brought_together(whole, members)


def _brought_together(whole: Member, members: Sequence[Member]) -> Population:
    """Bring the members together: each can read of the others from now on."""

    def find(name: Name) -> LanguageModel:
        if name is None:
            return whole.base
        assert isinstance(name, tuple), "a member's model has two numbers"
        generation, number = name
        for other in members:
            if other is not members[number]:
                other.close_model()  # one model at a time
        return members[number].model(generation)

    stages = Stages(
        whole.folder,
        whole.recipe.seed,
        whole.base_digests,
        DistributedScorer(find),
        whole.progress,
        whole.shared,
    )
    population = Population(whole.recipe, whole.run, stages, whole.base, members)
    for number, member in enumerate(members):
        member.relatives = Relatives(population, number)
    return population


def _base_of(
    recipe: Recipe, opened: Sequence[tuple[ModelSettings, LanguageModel]]
) -> LanguageModel:
    """Return a member's base model: an open one, that with another adapter, or a new one.

    Where base models are the same, they are opened once.
    """
    for settings, base in opened:
        if settings == recipe.model:
            return base
    for settings, base in opened:
        of_weights = ("base", "revision", "dtype")
        is_same = all(getattr(settings, name) == getattr(recipe.model, name) for name in of_weights)
        if is_same and isinstance(base, SupportsOtherSettings):
            return base.with_settings(recipe.model)
    return open_model(recipe.model, recipe.sample)
