"""What a model draws, as documents; and the prompts that they begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from textmad.errors import CorpusError
from textmad.seeds import stream
from textmad.text import documents

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.protocol import LanguageModel, Sample


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


def as_documents(
    drawn: Sequence[Sample], generation: int, author: str, prompts: Callable[[int], str] | None
) -> Dataset:
    """A generation's candidates; number i is `g<generation>-<i>`."""
    num = len(drawn)
    return documents.documents(
        {
            "id": [f"g{generation}-{index}" for index in range(num)],
            "text": [document.text for document in drawn],
            "prompt": [prompts(index) if prompts else "" for index in range(num)],
            "origin": [documents.MODEL] * num,
            "generation": [generation] * num,
            "author": [author] * num,
            "finished": [document.finished for document in drawn],
            "tokens": [document.tokens for document in drawn],
        }
    )
