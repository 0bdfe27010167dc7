"""What models write: the base model's text, and each generation's candidates.

    base_text(member)                     what a generation's text is compared with
    sample(member, generation)            candidates; behind those that are there, if more are asked
      LanguageModel.sample(...)

Each document has its own random stream, so those that are there need not be sampled again. Between
portions of the candidates a checkpoint is kept, if it is time for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textmad import mixture, store
from textmad.loop.generation_io import as_documents, as_samples, sample_more
from textmad.loop.member import Member
from textmad.loop.stages import Stage
from textmad.models.distributed import processes
from textmad.models.protocol import Sample
from textmad.recipe import SampleSettings
from textmad.seeds import stream
from textmad.text import documents

if TYPE_CHECKING:
    from datasets import Dataset

_CANDIDATES = "candidates.parquet"


def base_text(member: Member) -> None:
    """Sample text from the base model: what a generation's text is compared with.

    A base model that cannot write (a toy that has learned nothing) gives none.
    """
    settings, prompts = member.recipe.sample, member.prompts()
    num_tokens = mixture.base_tokens_drawn(member.recipe.mix, settings)
    inputs = {
        "sample": settings.model_dump(exclude={"oversample", "min_tokens"}),
        "base_tokens": num_tokens,  # not `num_tokens`, which a run may later ask more of
        "author": member.base.name,
        "corpus": member.stages.digest("corpus") if prompts else None,
    }

    def compute() -> Dataset:
        samples: list[Sample] = []
        if getattr(member.base, "can_write", True):
            samples = member.base.sample(
                settings,
                num_tokens=num_tokens,
                stream=lambda i: stream(member.recipe.seed, "sample", "base", i),
                prompt=prompts,
                advance=member.progress.advance,
            )
        ids = f"base-{member.ids}"
        return as_documents(samples, -1, member.base.name, prompts, ids=ids)

    def write(candidates: Dataset, folder: Path) -> None:
        documents.write_parquet(candidates, folder / _CANDIDATES)

    member.stages.complete(Stage(store.BASE, None, inputs, compute, write, total=num_tokens))


def sample(member: Member, generation: int) -> None:
    """Sample candidates from the model.

    Where `sample.oversample` was raised since, sampling goes on behind the documents that are
    there, unless a later generation has learned from them.
    """
    settings = member.recipe.sample
    prompts = member.prompts()
    manifest = member.stages.manifest("sample", generation)
    num_tokens = mixture.model_tokens_drawn(member.recipe.mix, settings, member.recipe.crawl)
    if manifest is not None and _is_learned(member, generation + 1):
        num_tokens = manifest.inputs["num_tokens"]
    inputs = {
        "sample": settings.model_dump(exclude={"oversample", "min_tokens"}),  # see `num_tokens`
        "num_tokens": num_tokens,
        "author": member.base.name,
        "model": member.stages.digest("model", generation),
        "corpus": member.stages.digest("corpus") if prompts else None,
    }

    def compute(checkpoints: store.Checkpoints) -> Dataset:
        samples = [] if manifest is None else as_samples(member.run.sampled(generation))
        if (folder := checkpoints.latest()) is not None:
            resumed = as_samples(documents.read_parquet(folder / _CANDIDATES))
            member.progress.advance(_tokens(resumed) - _tokens(samples))
            samples = resumed
        processes.barrier()  # nobody writes a checkpoint before everybody has read the one there
        # The borders of portions depend on tokens alone: a resumed run has the same ones.
        portion = _portion(settings)
        for _ in range(max(1, math.ceil((num_tokens - _tokens(samples)) / portion))):
            goal = min(num_tokens, _tokens(samples) + portion)
            samples = sample_more(
                member.model(generation),
                settings,
                samples,
                num_tokens=goal,
                stream=lambda i: stream(member.recipe.seed, "sample", generation, i),
                prompt=prompts,
                advance=member.progress.advance,
            )
            if goal < num_tokens and processes.is_main() and checkpoints.due():
                checkpoints.keep(partial(write, as_candidates(samples)))
        return as_candidates(samples)

    def as_candidates(samples: Sequence[Sample]) -> Dataset:
        return as_documents(samples, generation, member.base.name, prompts, ids=member.ids)

    def write(candidates: Dataset, folder: Path) -> None:
        documents.write_parquet(candidates, folder / _CANDIDATES)

    total = num_tokens - (0 if manifest is None else manifest.inputs["num_tokens"])
    stage = Stage("sample", generation, inputs, compute, write, total=total, resumes=True)
    if manifest is not None and total > 0:
        if member.relatives is not None and processes.is_main():
            member.relatives.discard_mixtures(generation + 1)
        member.stages.extend(stage, _made_from_sample(member, generation))
    else:
        member.stages.complete(stage)


def _portion(settings: SampleSettings) -> int:
    """Tokens that are sampled between two checkpoints at least.

    A portion ends with idle slots, so each slot has several documents in it: 8 of the longest.
    """
    return 8 * settings.slots * settings.max_new_tokens


def _tokens(samples: Sequence[Sample]) -> int:
    return sum(sample.tokens for sample in samples)


def _is_learned(member: Member, generation: int) -> bool:
    """Whether this generation has been made from what was kept before it."""
    if member.relatives is not None:
        return member.relatives.is_learned(generation)
    return member.is_committed("mix", generation)


def _made_from_sample(member: Member, generation: int) -> list[tuple[str, int]]:
    """The stages that a longer sample makes anew, the last first."""
    evaluate = [(name, generation) for name in member.folder.evaluate_stages(generation)]
    return [("crawl", generation + 1), *reversed(evaluate), ("curate", generation)]
