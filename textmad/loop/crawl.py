"""What is crawled as human text once models write: some of it is theirs, and nothing says so.

A crawl holds human documents that no generation before has had, and documents that the generation
before posted without a label. Both went through the corpus's cleaning, and every column is either
the same for all of them or computed from the text, so that a guard has nothing but the text to
tell them apart by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from textmad.corpus import CountTokens, clean, length_fault
from textmad.errors import CurationError
from textmad.mixture import crawl_budget, documents_reaching, stretch_of_pool
from textmad.recipe import MixSettings, Recipe
from textmad.seeds import stream
from textmad.text.documents import (
    MODEL,
    as_dataset,
    as_table,
    concatenate,
    content_id,
    documents,
    ids_of,
    take,
    token_counts,
)

if TYPE_CHECKING:
    from datasets import Dataset

_KNOWN_TO_THE_POSTER = ("origin", "generation", "author")


class Crawl(NamedTuple):
    """The crawled documents, twice, in the same order."""

    shown: Dataset  # as everybody meets them: all human
    truth: Dataset  # as the corpus and the generation before hold them

    def as_posted(self, candidates: Dataset) -> Dataset:
        """Some of the shown documents, in any order, with what those who posted them know."""
        place = {name: row for row, name in enumerate(ids_of(self.shown))}
        rows = np.array([place[name] for name in ids_of(candidates)], dtype=np.int64)
        truth, table = as_table(take(self.truth, rows)), as_table(candidates)
        for name in _KNOWN_TO_THE_POSTER:
            index = table.column_names.index(name)
            table = table.set_column(index, truth.schema.field(name), truth[name])
        return as_dataset(table)

    def revealed(self, judged: Dataset) -> Dataset:
        """The shown documents, with whatever was added to them, and the truth."""
        table, truth = as_table(judged), as_table(self.truth)
        for name in ("origin", "id"):
            table = table.append_column(f"true_{name}", truth[name])
        return as_dataset(table)


def gather(
    recipe: Recipe, generation: int, human: Dataset, kept: Dataset, count_tokens: CountTokens
) -> Crawl:
    """Fill the crawl of a generation from 1 on.

    Posted are the finished documents, a prompt and what follows as one text: what was cut at
    `sample.max_new_tokens` was cut by the instrument.

    Args:
        recipe: one with a crawl.
        generation: the one that will learn.
        human: the whole human training pool.
        kept: what the filters kept of the generation before.
        count_tokens: target tokens of each text, end token included.

    Raises:
        CorpusError: too little human text.
        CurationError: too little was kept that can be posted.
    """
    assert recipe.crawl is not None
    found = stretch_of_pool(recipe.mix, generation, human, recipe.seed, recipe.crawl)
    posted = _posted(recipe, generation, kept, set(ids_of(found)), count_tokens)
    texts = [*found["text"][:], *posted.texts]
    shown = documents(
        {
            "text": texts,
            "tokens": [*token_counts(found), *posted.tokens],
            "author": human["author"][:1] * len(texts),  # a corpus has one
        }
    )
    truth = concatenate([found, take(kept, posted.rows)])
    order = stream(recipe.seed, "crawl", generation).permutation(len(texts))
    return Crawl(take(shown, order), take(truth, order))


def taken_for_human(settings: MixSettings, generation: int, crawled: Dataset) -> Dataset:
    """What the guards kept of a revealed crawl, in its order, up to the mixture's budget.

    Raises:
        CurationError: they kept too little.
    """
    kept = take(crawled, np.flatnonzero(np.array(crawled["kept"][:], dtype=bool)))
    tokens = token_counts(kept)
    reached = documents_reaching(tokens, settings.human_tokens)
    if reached is None:
        raise CurationError(
            f"crawl.oversample: generation {generation} needs {settings.human_tokens:,} tokens of "
            f"human text, the guards kept {int(tokens.sum()):,} of the "
            f"{int(token_counts(crawled).sum()):,} crawled: raise crawl.oversample, or keep more "
            "in crawl.guard"
        )
    return take(kept, np.arange(reached))


def with_label(corpus: Dataset, crawled: Dataset) -> Dataset:
    """The documents of `corpus` that were not posted without a label in the revealed `crawled`."""
    table, crawl = as_table(corpus), as_table(crawled)
    posted = crawl.filter(pc.field("true_origin") == MODEL)["true_id"]
    return as_dataset(table.filter(pc.invert(pc.is_in(table["id"], posted.combine_chunks()))))


class _Posted(NamedTuple):
    rows: npt.NDArray[np.int64]  # among what was kept
    texts: list[str]
    tokens: npt.NDArray[np.int64]


def _posted(
    recipe: Recipe, generation: int, kept: Dataset, known: set[str], count_tokens: CountTokens
) -> _Posted:
    """Documents of the generation before in a random order, up to the budget.

    Cleaned like the corpus, bounded like it, and each text once, `known` ids included.
    """
    assert recipe.crawl is not None
    budget = crawl_budget(recipe.mix, recipe.crawl).model
    order = stream(recipe.seed, "crawl", generation, "posted").permutation(len(kept))
    chosen, texts = [], []
    table = as_table(take(kept, order)).select(["prompt", "text", "finished"])
    for row, whole in zip(order, table.to_pylist(), strict=True):
        text = clean(whole["prompt"] + whole["text"])
        name = content_id(text)
        if whole["finished"] and not length_fault(text, recipe.corpus) and name not in known:
            known.add(name)
            chosen.append(row)
            texts.append(text)
    tokens = np.asarray(count_tokens(texts), dtype=np.int64)
    reached = documents_reaching(tokens, budget)
    if reached is None:
        raise CurationError(
            f"crawl.contamination: generation {generation} needs {budget:,} tokens that generation "
            f"{generation - 1} posted without a label, its kept text has {int(tokens.sum()):,} in "
            "finished documents within corpus.min_words and max_words: raise sample.oversample, "
            "keep more in curate, or lower crawl.contamination or crawl.oversample"
        )
    rows = np.array(chosen[:reached], dtype=np.int64)
    return _Posted(rows, texts[:reached], tokens[:reached])
