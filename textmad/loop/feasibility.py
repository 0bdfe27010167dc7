"""What can be checked before anything is computed; a plan and a run check the same."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textmad import mixture
from textmad.curation.vote_targets import vote_targets
from textmad.errors import CorpusError, RecipeError
from textmad.recipe import Recipe, SampleSettings
from textmad.text.documents import ids_of, of_community, token_counts

if TYPE_CHECKING:
    from datasets import Dataset

# A filter that keeps a share of the documents may keep the shorter ones: of 8,000 sampled tokens,
# the quarter of the documents with the most votes for fluency held 1,486 and not 2,000.
ROOM = 1.5

_TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
_LEARNED_FROM_VOTES = {"learned_votes", "residual(learned_votes)"}


def kept_share(filters: Sequence[Any]) -> float:
    """The share of documents that the filters with a fixed share leave, in (0, 1].

    >>> from textmad.curation import Length, Random
    >>> kept_share([Random(keep=0.5), Length(), Random(keep=0.5)])
    0.25
    """
    return math.prod(getattr(each, "kept_share", 1.0) for each in filters)


def oversample_with_room(share: float) -> float:
    """The oversample that suffices for filters that keep this share, with room for short documents.

    >>> oversample_with_room(0.25)
    6.0
    """
    return math.ceil(round(10 * ROOM / share, 6)) / 10


def check_kept_text(recipe: Recipe) -> None:
    """Check that the filters keep as much as the next generation needs, where that is known.

    Of a population each member is checked, with its own `sample`.

    Raises:
        RecipeError: `sample.oversample` or `crawl.oversample` is too small for filters that keep a
            fixed share; the message says how large it should be.
    """
    if not recipe.generations:
        return
    needed = mixture.model_tokens_needed(recipe.mix, recipe.crawl)
    share = kept_share(recipe.filters())
    for group, sample in _samples(recipe):
        sampled = mixture.model_tokens_drawn(recipe.mix, sample, recipe.crawl)
        _check(group, sample.oversample, sampled, needed, share)
    if recipe.crawl is not None:
        crawled = mixture.crawl_budget(recipe.mix, recipe.crawl).total
        share, oversample = kept_share(recipe.crawl_filters()), recipe.crawl.oversample
        _check("crawl", oversample, crawled, recipe.mix.human_tokens, share)


def check_corpus(
    recipe: Recipe, filters: Sequence[Any], human: Dataset, of: str = "the recipe"
) -> None:
    """Check that the human text is enough for a run, whatever its models write.

    `of` says in a message who needs it.

    Raises:
        CorpusError: there is too little of it.
        CurationError: a filter learns from its votes, and it has none.
    """
    mixture.check_human_tokens(recipe.mix, recipe.generations, human, recipe.crawl, of=of)
    if any(_LEARNED_FROM_VOTES & _scorers(each) for each in filters):
        vote_targets(human)


def check_members_corpus(recipe: Recipe, human: Dataset) -> None:
    """Check that the human text is enough for each member of a population, and for its selection.

    Which documents a member learns follows from the recipe alone, so it is known in advance how
    much is left for the members to be compared on.

    Raises:
        CorpusError: a community has too little text, or too little is left for `select.tokens`.
    """
    population = recipe.population
    if population is None:
        return
    communities = population.communities or (None,) * population.members
    pools = {name: of_community(human, name) for name in dict.fromkeys(communities)}
    members = [(recipe.of_member(k), pools[name]) for k, name in enumerate(communities)]
    for number, (member, pool) in enumerate(members):
        if population.communities:
            check_corpus(member, [], pool, of=f"member {number}")
    select = population.select
    if select is None or not select.compares_losses or not recipe.generations:
        return
    last = recipe.generations - 1  # whose members are selected
    learned: set[str] = set()
    for member, pool in members:
        ids = list(ids_of(pool))
        for generation in range(last + 1):
            rows = mixture.human_rows(member.mix, generation, pool, member.seed)
            learned.update(ids[row] for row in rows)
    left = sum(
        tokens
        for name, tokens in zip(ids_of(human), token_counts(human).tolist(), strict=True)
        if name not in learned
    )
    if left < select.tokens:
        raise too_few_unlearned(select.tokens, left, last)


def too_few_unlearned(wanted: int, left: int, generation: int) -> CorpusError:
    """Return the error that too little human text is left to compare members on."""
    return CorpusError(
        f"population.select.tokens: {wanted:,}: the human training pool has {left:,} tokens that "
        f"no member has learned up to generation {generation}: lower it, mix.human_tokens, "
        "generations or members, or give a larger corpus"
    )


def check_tracker(recipe: Recipe) -> None:
    """Check that the recipe's tracker is installed.

    Raises:
        RecipeError: the package is missing; the message says how to install it.
    """
    if recipe.track is None:
        return
    packages = _TRACKERS[recipe.track]
    if not any(importlib.util.find_spec(package) for package in packages):
        raise RecipeError(
            f"track: {recipe.track}: the package {packages[0]} is not installed: run `pip install "
            f"{packages[0]}`, or delete track"
        )


def _samples(recipe: Recipe) -> list[tuple[str, SampleSettings]]:
    """Return the name of the group that sets `oversample`, and how is sampled, of each member."""
    population = recipe.population
    if population is None or not population.each:
        return [("sample", recipe.sample)]
    return [
        (
            f"population.each.{number}.sample" if "oversample" in changes.sample else "sample",
            recipe.of_member(number).sample,
        )
        for number, changes in enumerate(population.each)
    ]


def _check(group: str, oversample: float, tokens: int, needed: int, share: float) -> None:
    kept = round(tokens * share)
    if kept < needed:
        raise RecipeError(
            f"{group}.oversample: {oversample:g}: the filters keep at most about {kept:,} of "
            f"{tokens:,} tokens, {needed:,} are needed: set {group}.oversample to "
            f"{oversample_with_room(share):g}, or keep more"
        )


def _scorers(judge: Any) -> set[str]:
    """The names of the scorers of a filter."""
    scorer = getattr(getattr(judge, "twin_of", judge), "scorer", None)
    names = list(scorer) if isinstance(scorer, Mapping) else [scorer]
    return {name for name in names if isinstance(name, str)}
