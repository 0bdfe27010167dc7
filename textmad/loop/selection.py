"""Selection among the members of a population: who has children, and whose generation is undone.

The members are compared on the same human text of the training pool, which none of them has
learned; held-out text has no part in it. With `by: votes` the crowd of the recipe's filter
`upvotes` votes on the text of all members together, so that their votes can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from textmad.curation.protocol import run_filter
from textmad.loop.feasibility import too_few_unlearned
from textmad.loop.parents import Parent
from textmad.mixture import documents_reaching
from textmad.text import documents
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad import store
    from textmad.curation.protocol import Context
    from textmad.loop.run import Run
    from textmad.models.protocol import LanguageModel
    from textmad.recipe import PopulationSettings, Recipe

UPVOTES = "upvotes"


class Sibling(Protocol):
    """What a population asks of a member, which is a `textmad.loop.member.Member`."""

    recipe: Recipe
    folder: store.RunFolder
    run: Run
    base: LanguageModel

    def digest(self, stage: str, generation: int | None = None) -> str:
        """SHA-256 of the files that a stage has committed."""
        ...

    def is_committed(self, stage: str, generation: int) -> bool:
        """Whether a stage is there."""
        ...

    def filter_named(self, name: str) -> tuple[int, Any]:
        """The place of a filter in `curate`, and the filter."""
        ...

    def context_of_filter(self, generation: int, position: int, name: str) -> Context:
        """What a filter is given that judges the text of several members."""
        ...


def select(
    population: PopulationSettings,
    members: Sequence[Sibling],
    generation: int,
    before: Sequence[Parent] | None,
    human: Dataset,
    scores_of: Callable[[int, int, Passages], Sequence[np.ndarray]],
) -> dict[str, Any]:
    """Choose the members of a generation that have children.

    Args:
        population: its settings.
        members: they have committed the generation.
        generation: of the members.
        before: who stood in each place when this generation began; None in generation 0.
        human: the training pool, in the order in which it is read.
        scores_of: the nats of each token of each passage under the model of a generation and
            member.

    Returns:
        What selection.json holds: `standing`, generation and member of the one that each place
        descends from; `kept`, the places that go on; `undone`, those whose new generation was not
        taken; `scores`, one for each place, lower losses or higher votes being better; and the
        documents and tokens that the losses are of.
    """
    settings = population.select
    assert settings is not None, "nobody is selected"
    places = range(population.members)
    standing = [Parent(generation, member) for member in places]
    facts: dict[str, Any] = {"by": settings.by, "undone": [], "p_values": None}
    losses: dict[Parent, tuple[np.ndarray, int]] = {}
    if settings.compares_losses:
        text = _unlearned_text(settings.tokens, members, generation, human)
        facts |= {"documents": len(text), "tokens": int(documents.token_counts(text).sum())}
        passages = Passages.whole(text["text"][:])
        parents = {*standing, *(before or ())} if settings.undo else set(standing)
        for parent in sorted(parents):
            nll = scores_of(*parent, passages)
            losses[parent] = np.array([row.sum() for row in nll]), sum(map(len, nll))
    if settings.undo and before is not None:
        facts["p_values"] = [
            p_value_of_worse(losses[new][0], losses[old][0])
            for new, old in zip(standing, before, strict=True)
        ]
        facts["undone"] = [k for k in places if facts["p_values"][k] < settings.level]
        standing = [before[k] if k in facts["undone"] else standing[k] for k in places]
    if settings.by == "loss":
        scores = [float(losses[parent][0].sum() / losses[parent][1]) for parent in standing]
        best_first = sorted(places, key=lambda k: (scores[k], k))
    else:
        scores = _votes(members, generation)
        best_first = sorted(places, key=lambda k: (-scores[k], k))
    kept = best_first[: settings.keep]
    # The others' places go to children of the kept, the best first.
    heirs = dict(zip(best_first[settings.keep :], cycle(kept), strict=False))
    return {
        **facts,
        "scores": scores,
        "kept": sorted(kept),
        "standing": [list(standing[heirs.get(k, k)]) for k in places],
    }


def p_value_of_worse(new: np.ndarray, old: np.ndarray) -> float:
    """Return the p value of a paired one-sided t test of nats by document: new above old.

    1 where there is nothing to test: the two are equal, both are infinite, or there is one
    document. 0 where the new loss alone is infinite.
    """
    if not np.isfinite(old).all():
        return 1.0
    if not np.isfinite(new).all():
        return 0.0
    if np.array_equal(new, old) or len(new) < 2:
        return 1.0
    from scipy.stats import ttest_rel  # here: most runs have no population

    return float(ttest_rel(new, old, alternative="greater").pvalue)


def _unlearned_text(
    num_tokens: int, members: Sequence[Sibling], generation: int, human: Dataset
) -> Dataset:
    """Return the first human documents that no member has learned.

    Raises:
        CorpusError: there are too few.
    """
    learned = {
        document
        for member in members
        for g in range(generation + 1)
        for document in documents.ids_of(member.run.training(g))
    }
    is_new = [document not in learned for document in documents.ids_of(human)]
    rows = np.flatnonzero(is_new)
    tokens = documents.token_counts(human)[rows]
    reached = documents_reaching(tokens, num_tokens)
    if reached is None:
        raise too_few_unlearned(num_tokens, int(tokens.sum()), generation)
    return documents.take(human, rows[:reached])


def _votes(members: Sequence[Sibling], generation: int) -> list[float]:
    """Return the mean votes on each member's text, ups less downs, by one crowd on all of it."""
    first = members[0]
    position, judge = first.filter_named(UPVOTES)
    texts = [member.run.sampled(generation) for member in members]
    context = first.context_of_filter(generation, position, f"select by {UPVOTES}")
    verdicts = run_filter(UPVOTES, judge, documents.concatenate(texts), context)
    votes = np.split(verdicts.columns["votes"], np.cumsum([len(text) for text in texts])[:-1])
    return [float(each.mean()) for each in votes]
