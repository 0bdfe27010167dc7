"""The human text of a run: read once, and split into the training pool and held-out text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textmad import store
from textmad.corpus import Corpus, corpus_digest, open_corpus
from textmad.loop.feasibility import check_corpus
from textmad.loop.member import Member
from textmad.loop.stages import Stage
from textmad.text import documents

if TYPE_CHECKING:
    from datasets import Dataset


def corpus(member: Member) -> None:
    """Read human text, clean it, and split it into the training pool and held-out text."""
    inputs = {
        "corpus": member.recipe.corpus.model_dump(),
        "source": corpus_digest(member.recipe.corpus),
        "part": member.recipe.corpus_part,  # seeds of one part share the stage
    }

    def check(human: Dataset) -> None:
        filters = [part for _, part in (*member.filters, *member.crawl_filters)]
        check_corpus(member.recipe, filters, human)

    def compute() -> Corpus:
        corpus = open_corpus(
            member.recipe.corpus,
            member.count_tokens,
            member.recipe.corpus_part,
            read_back=getattr(member.base, "read_back", None),  # a toy's words come back
        )
        check(corpus.human)
        return corpus

    def write(corpus: Corpus, folder: Path) -> None:
        documents.write_parquet(corpus.human, folder / "human.parquet")
        documents.write_parquet(corpus.held_out, folder / "held_out.parquet")
        store.write_json(corpus.report, folder / "corpus.json")

    def accept(folder: Path) -> None:
        check(documents.read_parquet(folder / "human.parquet"))

    stage = Stage(store.CORPUS, None, inputs, compute, write, accept=accept, main_only=True)
    member.stages.complete(stage)
    check(member.run.human)  # which was enough for the generations that were asked for before
