"""Selection among the members of a population: who has children, and whose generation is undone.

The members are compared on the same human text of the training pool, which none of them has
learned; held-out text has no part in it. With `by: votes` the crowd of the recipe's filter
`upvotes` votes on the text of all members together, so that their votes can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats

from textmad.curation.protocol import run_filter
from textmad.errors import CorpusError
from textmad.loop.parents import Parent
from textmad.mixture import documents_reaching
from textmad.seeds import stream
from textmad.text import documents
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.loop.population import Population

UPVOTES = "upvotes"


def select(
    population: Population, generation: int, before: Sequence[Parent] | None
) -> dict[str, Any]:
    """Choose the members of a generation that have children.

    Args:
        population: its members have committed the generation.
        generation: of the members.
        before: who stood in each place when this generation began; None in generation 0.

    Returns:
        What selection.json holds: `standing`, generation and member of the one that each place
        descends from; `kept`, the places that go on; `undone`, those whose new generation was not
        taken; `scores`, one for each place, lower losses or higher votes being better; and the
        documents and tokens that the losses are of.
    """
    settings = population.settings.select
    assert settings is not None, "nobody is selected"
    places = range(population.settings.members)
    standing = [Parent(generation, member) for member in places]
    facts: dict[str, Any] = {"by": settings.by, "undone": [], "p_values": None}
    losses: dict[Parent, tuple[np.ndarray, int]] = {}
    if settings.by == "loss" or settings.undo:
        text = _unlearned_text(population, generation)
        facts |= {"documents": len(text), "tokens": int(documents.token_counts(text).sum())}
        passages = Passages.whole(text["text"][:])
        parents = {*standing, *(before or ())} if settings.undo else set(standing)
        for parent in sorted(parents):
            nll = population.scores(*parent, passages)
            losses[parent] = np.array([row.sum() for row in nll]), sum(map(len, nll))
    if settings.undo and before is not None:
        facts["p_values"] = [
            _p_value_of_worse(losses[new][0], losses[old][0])
            for new, old in zip(standing, before, strict=True)
        ]
        facts["undone"] = [k for k in places if facts["p_values"][k] < settings.level]
        standing = [before[k] if k in facts["undone"] else standing[k] for k in places]
    if settings.by == "loss":
        scores = [float(losses[parent][0].sum() / losses[parent][1]) for parent in standing]
        best_first = sorted(places, key=lambda k: (scores[k], k))
    else:
        scores = _votes(population, generation)
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


def _p_value_of_worse(new: np.ndarray, old: np.ndarray) -> float:
    """Return the p value of a paired one-sided t test of nats by document: new above old.

    1 where the two are equal, as where a member descends from itself without a change.
    """
    if np.array_equal(new, old):
        return 1.0
    return float(scipy.stats.ttest_rel(new, old, alternative="greater").pvalue)


def _unlearned_text(population: Population, generation: int) -> Dataset:
    """Return human documents of the training pool that no member has learned, in a fixed order.

    Raises:
        CorpusError: there are too few.
    """
    settings, run = population.settings.select, population.run
    assert settings is not None, "nobody is selected"
    learned = {
        document
        for member in population.members
        for g in range(generation + 1)
        for document in documents.ids_of(member.run.training(g))
    }
    ids = np.array(run.human["id"][:], dtype=object)
    order = stream(population.recipe.seed, "select", "human").permutation(len(ids))
    rows = order[[document not in learned for document in ids[order]]]
    tokens = documents.token_counts(documents.take(run.human, rows))
    reached = documents_reaching(tokens, settings.tokens)
    if reached is None:
        raise CorpusError(
            f"population.select.tokens: {settings.tokens:,}: the human training pool has "
            f"{int(tokens.sum()):,} tokens that no member has learned up to generation "
            f"{generation}: lower it, mix.human_tokens, generations or members, or give a larger "
            "corpus"
        )
    return documents.take(run.human, rows[:reached])


def _votes(population: Population, generation: int) -> list[float]:
    """Return the mean votes on each member's text, ups less downs, by one crowd on all of it."""
    first = population.members[0]
    position, judge = first.filter_named(UPVOTES)
    texts = [member.run.sampled(generation) for member in population.members]
    context = first.context_of_filter(generation, position, f"select by {UPVOTES}")
    verdicts = run_filter(UPVOTES, judge, documents.concatenate(texts), context)
    votes = np.split(verdicts.columns["votes"], np.cumsum([len(text) for text in texts])[:-1])
    return [float(each.mean()) for each in votes]
