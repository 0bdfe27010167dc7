"""What a model samples, as documents, and the prompts that they begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from textmad.errors import CorpusError
from textmad.models.protocol import Advance, Sample, no_advance
from textmad.seeds import stream
from textmad.text import documents

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.protocol import LanguageModel
    from textmad.recipe import SampleSettings


def human_prompts(
    model: LanguageModel, human: Dataset, length: int, seed: int
) -> Callable[[int], str]:
    """Slot i's prompt in every generation: the beginning of a human training document.

    Args:
        model: counts the tokens.
        human: the training pool.
        length: of a prompt, in tokens.
        seed: the run's.

    Raises:
        CorpusError: no document is long enough.
    """
    tokens = documents.token_counts(human)
    long_enough = np.flatnonzero(tokens > length + 1)
    if len(long_enough) == 0:
        raise CorpusError(
            f"sample.prompt_tokens: no human document is longer than {length} tokens; "
            "lower it, or raise corpus.min_words"
        )

    def prompt(index: int) -> str:
        rng = stream(seed, "prompt", index)
        text = human[int(rng.choice(long_enough))]["text"]
        return model.beginning(text, length)

    return prompt


def sample_more(
    model: LanguageModel,
    settings: SampleSettings,
    before: Sequence[Sample],
    *,
    num_tokens: int,
    stream: Callable[[int], np.random.Generator],
    prompt: Callable[[int], str] | None = None,
    advance: Advance = no_advance,
) -> list[Sample]:
    """Sample until there are `num_tokens` tokens, behind the documents that are there.

    A document depends on its own stream and prompt alone, so the result is what sampling all of
    it at once would give.

    Args:
        model: samples.
        settings: how.
        before: documents 0, 1, 2, ... as this model has sampled them; may be empty.
        num_tokens: target tokens of the result, at least.
        stream: the random numbers of document i.
        prompt: what document i begins with.
        advance: told how many tokens are done.

    Returns:
        All documents from 0 on, those of `before` included.
    """
    samples = list(before)
    num_missing = num_tokens - sum(sample.tokens for sample in samples)
    if num_missing > 0:
        begin = len(samples)
        samples += model.sample(
            settings,
            num_tokens=num_missing,
            stream=lambda i: stream(begin + i),
            prompt=None if prompt is None else lambda i: prompt(begin + i),
            advance=advance,
        )
    return samples


def as_samples(candidates: Dataset) -> list[Sample]:
    """Turn candidates back into what the model has sampled."""
    columns = ["text", "finished", "tokens", documents.SAMPLED_IDS]
    rows = candidates.select_columns(columns).to_list()
    return [
        Sample(**row)._replace(sampled_ids=row["sampled_ids"] and tuple(row["sampled_ids"]))
        for row in rows
    ]


def as_documents(
    samples: Sequence[Sample],
    generation: int,
    author: str,
    prompts: Callable[[int], str] | None,
    ids: str = "",
) -> Dataset:
    """Turn samples into documents; number i has the id `<ids>g<generation>-<i>`."""
    num = len(samples)
    return documents.documents(
        {
            "id": [f"{ids}g{generation}-{index}" for index in range(num)],
            "text": [sample.text for sample in samples],
            "prompt": [prompts(index) if prompts else "" for index in range(num)],
            "origin": [documents.MODEL] * num,
            "generation": [generation] * num,
            "author": [author] * num,
            "finished": [sample.finished for sample in samples],
            "tokens": [sample.tokens for sample in samples],
            documents.SAMPLED_IDS: pa.array(
                [sample.sampled_ids for sample in samples], pa.list_(pa.int32())
            ),
        }
    )
