"""What is judged before anybody learns from it: candidates by filters, a crawl by crawl filters.

    curate(member, generation)            every candidate gets a verdict
    crawl(member, generation)             what was gathered as human text gets one too
      apply_filters(...)                    the filters in order, each with its context

A rejected document stays in the table, with the filter that rejected it and its reason.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textmad import store
from textmad.curation.protocol import Context, apply_filters
from textmad.loop.contexts import Records
from textmad.loop.crawl import build_crawl
from textmad.loop.member import Member, own_code
from textmad.loop.stages import Stage
from textmad.text import documents

if TYPE_CHECKING:
    from datasets import Dataset


def curate(member: Member, generation: int) -> None:
    """Apply the filters in order: every candidate gets its verdict, kept or not."""
    inputs = {
        "curate": [component.dump() for component in member.recipe.curate],
        "model": member.stages.digest("model", generation),
        "sample": member.stages.digest("sample", generation),
        "earlier": [member.stages.digest("curate", earlier) for earlier in range(generation)],
        "corpus": member.stages.digest("corpus"),
    }
    records: Records = {}

    def compute() -> Dataset:
        def context(position: int, name: str) -> Context:
            member.progress.advance(min(position, 1))  # the filter before this one is done
            return member.contexts.of_filter(generation, records, position, name)

        judged = apply_filters(member.run.sampled(generation), member.filters, context)
        member.progress.advance(min(len(member.filters), 1))
        return judged

    def write(candidates: Dataset, folder: Path) -> None:
        _write_judged(candidates, records, folder)

    member.stages.complete(
        Stage(
            "curate",
            generation,
            inputs,
            compute,
            write,
            total=len(member.filters),
            unit="filters",
            main_only=True,
            own_code=own_code(member.filters),
        )
    )


def crawl(member: Member, generation: int) -> None:
    """Find human text after models have begun to write: some is theirs; crawl filters judge.

    Where `crawl.oversample` was raised since, the crawl is made anew, unless the generation has
    learned from it.
    """
    recipe, manifest = member.recipe, member.stages.manifest("crawl", generation)
    assert recipe.crawl is not None
    is_learned_from = member.stages.manifest("mix", generation) is not None
    if manifest is not None and is_learned_from:
        made_with = {"oversample": manifest.inputs["crawl"]["oversample"]}
        crawl_settings = recipe.crawl.model_copy(update=made_with)
        recipe = recipe.model_copy(update={"crawl": crawl_settings})
    inputs = {
        "crawl": recipe.dump()["crawl"],
        "mix": member.recipe.mix.model_dump(),
        "corpus": member.stages.digest("corpus"),
        "cleaning": member.recipe.corpus.model_dump(),  # posted text goes through it too
        "model": member.stages.digest("model", generation - 1),
        "curate": [member.stages.digest("curate", earlier) for earlier in range(generation)],
        "earlier": [member.stages.digest("crawl", earlier) for earlier in range(1, generation)],
    }
    records: Records = {}

    def compute() -> Dataset:
        kept = member.run.kept(generation - 1)
        crawl = build_crawl(recipe, generation, member.run.human, kept, member.count_tokens)
        context = partial(member.contexts.of_crawl_filter, generation, crawl, records)
        judged = apply_filters(crawl.as_human, member.crawl_filters, context, every_score=True)
        return crawl.revealed(judged)

    def write(crawled: Dataset, folder: Path) -> None:
        _write_judged(crawled, records, folder)

    stage = Stage(
        "crawl",
        generation,
        inputs,
        compute,
        write,
        main_only=True,
        own_code=own_code(member.crawl_filters),
    )
    if manifest is not None and manifest.inputs["crawl"] != inputs["crawl"]:
        member.stages.extend(stage, [])
    else:
        member.stages.complete(stage)


def _write_judged(judged: Dataset, records: Records, folder: Path) -> None:
    documents.write_parquet(judged, folder / "candidates.parquet")
    if records:
        store.write_json(records, folder / store.RECORDS)
