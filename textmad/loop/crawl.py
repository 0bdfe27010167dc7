"""The crawl: human text as it is found once models write, with their text in it and no label.

A crawl holds human documents that no earlier generation has had, and documents that the generation
before has posted without a label. Both go through the corpus's cleaning, and every column is either
the same for all of them or computed from the text. So a crawl filter can tell them apart by their
text alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from textmad.corpus import CountTokens, clean, length_fault
from textmad.errors import CurationError
from textmad.mixture import crawl_budget, documents_reaching, take_human_documents
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

    as_human: Dataset  # as a crawl filter gets them: all are human by their columns
    truth: Dataset  # as the corpus and the generation before have them

    def as_posted(self, candidates: Dataset) -> Dataset:
        """Return some of the documents, in any order, with what those who posted them know."""
        row_of = {name: row for row, name in enumerate(ids_of(self.as_human))}
        rows = np.array([row_of[name] for name in ids_of(candidates)], dtype=np.int64)
        truth, table = as_table(take(self.truth, rows)), as_table(candidates)
        for name in _KNOWN_TO_THE_POSTER:
            index = table.column_names.index(name)
            table = table.set_column(index, truth.schema.field(name), truth[name])
        return as_dataset(table)

    def revealed(self, judged: Dataset) -> Dataset:
        """Return the judged documents with two more columns: `true_origin` and `true_id`."""
        table, truth = as_table(judged), as_table(self.truth)
        for name in ("origin", "id"):
            table = table.append_column(f"true_{name}", truth[name])
        return as_dataset(table)


def build_crawl(
    recipe: Recipe, generation: int, human: Dataset, kept: Dataset, count_tokens: CountTokens
) -> Crawl:
    """Build the crawl of a generation from 1 on.

    Only finished documents are posted, prompt and continuation as one text: a document that ends at
    `sample.max_new_tokens` was cut by textmad, not by its author.

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
    by_people = take_human_documents(recipe.mix, generation, human, recipe.seed, recipe.crawl)
    posted = _posted(recipe, generation, kept, set(ids_of(by_people)), count_tokens)
    texts = [*by_people["text"][:], *posted.texts]
    as_human = documents(
        {
            "text": texts,
            "tokens": [*token_counts(by_people), *posted.tokens],
            "author": human["author"][:1] * len(texts),  # a corpus has one
        }
    )
    truth = concatenate([by_people, take(kept, posted.rows)])
    order = stream(recipe.seed, "crawl", generation).permutation(len(texts))
    return Crawl(take(as_human, order), take(truth, order))


def treat_as_human(settings: MixSettings, generation: int, crawled: Dataset) -> Dataset:
    """Return what the crawl filters kept, in its order, up to the mixture's human budget.

    Raises:
        CurationError: they kept too little.
    """
    kept = take(crawled, np.flatnonzero(np.array(crawled["kept"][:], dtype=bool)))
    tokens = token_counts(kept)
    reached = documents_reaching(tokens, settings.human_tokens)
    if reached is None:
        raise CurationError(
            f"crawl.oversample: generation {generation} needs {settings.human_tokens:,} tokens of "
            f"human text, the crawl filters kept {int(tokens.sum()):,} of the "
            f"{int(token_counts(crawled).sum()):,} crawled: raise crawl.oversample, or keep more "
            "in crawl.guard"
        )
    return take(kept, np.arange(reached))


def with_label(corpus: Dataset, crawled: Dataset) -> Dataset:
    """Return the documents of `corpus` that are not in the crawl `crawled` without a label."""
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
    """Return documents of the generation before, in a random order, up to the budget.

    They are cleaned and bounded in length like the corpus. No text occurs twice, nor one whose id
    is in `known`.
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
    fits = np.flatnonzero(tokens <= recipe.corpus.largest_in_tokens)
    chosen, texts, tokens = [chosen[i] for i in fits], [texts[i] for i in fits], tokens[fits]
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
