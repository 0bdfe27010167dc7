"""Documents as rows of ids, for a base model, and what it has drawn as text again.

A row is start token, prompt, text and end token. Prompt and text are encoded apart, so that the
border between them is kept.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from textmad.models.causal_lm.loading import Base
from textmad.models.causal_lm.scoring import Row
from textmad.models.protocol import Sample
from textmad.models.sampling.slots import Draft

if TYPE_CHECKING:
    from datasets import Dataset

_log = logging.getLogger(__name__)


def encode(base: Base, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the target ids of each text (int32), end token last."""
    ends = np.array([base.end], np.int32)
    return [np.concatenate([ids, ends]) for ids in base.text.encode(texts)]


def rows(base: Base, texts: Sequence[str], prompts: Sequence[str] | None = None) -> list[Row]:
    """Return a row for each text."""
    given = list(prompts) if prompts is not None else [""] * len(texts)
    pieces = base.text.encode(texts, continues=[bool(prompt) for prompt in given])
    return rows_of_ids(base, pieces, given)


def rows_of_ids(
    base: Base, pieces: Sequence[Sequence[int] | np.ndarray], prompts: Sequence[str] | None
) -> list[Row]:
    """Return a row for the ids of each text."""
    before = base.text.encode(prompts if prompts is not None else [""] * len(pieces))
    start, end = (np.array([i], np.int32) for i in (base.start, base.end))
    return [
        Row(np.concatenate([start, prompt, np.asarray(text, np.int32), end]), 1 + len(prompt))
        for prompt, text in zip(before, pieces, strict=True)
    ]


def learned_rows(base: Base, corpus: Dataset, name: str) -> list[Row]:
    """Return what is learned of each document: without an end token if it was cut.

    Args:
        base: whose tokens.
        corpus: columns text, prompt and finished.
        name: of the model, for a warning about characters that its tokenizer does not know.
    """
    texts = corpus["text"][:]
    lost = sum(map(operator.ne, texts, base.text.read_back(texts)))
    if lost:
        _log.warning(
            "%s: %d of %d documents to learn from do not come back from their tokens: the "
            "tokenizer does not know some of their characters",
            name,
            lost,
            len(texts),
        )
    return [
        row if finished else row._replace(ids=row.ids[:-1])
        for row, finished in zip(
            rows(base, texts, corpus["prompt"]), corpus["finished"], strict=True
        )
    ]


def samples(base: Base, drafts: Sequence[Draft]) -> list[Sample]:
    """Return drafts as samples: ids back to text, and the text's tokens as it will be read.

    Special tokens drawn inside a text (start, unknown, padding) stand for no characters and leave
    none. What follows a prompt is decoded as its continuation, so `prompt + text` reads as the
    model wrote it.
    """
    continues = [len(draft.prompt) > 1 for draft in drafts]  # more than the start token
    texts = base.text.decode([draft.ids.tolist() for draft in drafts], continues)
    pieces = base.text.encode(texts, continues)
    return [
        Sample(
            text,
            draft.finished,
            tokens=len(ids) + draft.finished,
            sampled_ids=None if np.array_equal(ids, draft.ids) else tuple(draft.ids.tolist()),
        )
        for text, draft, ids in zip(texts, drafts, pieces, strict=True)
    ]
