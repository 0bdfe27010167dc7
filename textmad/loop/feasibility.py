"""What can be checked before anything is computed; a plan and a run check the same."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textmad import mixture
from textmad.curation.vote_targets import vote_targets
from textmad.errors import RecipeError
from textmad.recipe import Recipe

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

    Raises:
        RecipeError: `sample.oversample` or `crawl.oversample` is too small for filters that keep a
            fixed share; the message says how large it should be.
    """
    if not recipe.generations:
        return
    needed = mixture.model_tokens_needed(recipe.mix, recipe.crawl)
    sampled = mixture.model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl)
    _check("sample", recipe.sample.oversample, sampled, needed, kept_share(recipe.filters()))
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
