"""Texts with the prompts that they continue: drawn text, and human text cut in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt

from textmad.text.documents import as_table

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Passages:
    """Texts, the prompt that each one continues, and whether it has reached its end.

    Attributes:
        texts: without their prompts.
        prompts: "" where there was none.
        finished: False where the text was cut at `sample.max_new_tokens`, so that no end token
            belongs to it.

    >>> Passages.whole(["hello", "good day"]).first(1)
    Passages(texts=('hello',), prompts=('',), finished=(True,))
    """

    texts: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    finished: tuple[bool, ...] = ()

    @classmethod
    def whole(cls, texts: Iterable[str]) -> Self:
        """Make passages of whole documents: no prompts, all finished."""
        texts = tuple(texts)
        return cls(texts, ("",) * len(texts), (True,) * len(texts))

    @classmethod
    def of(cls, corpus: Dataset) -> Self:
        """Make passages of a corpus's documents, in order."""
        table = as_table(corpus).select(["text", "prompt", "finished"])
        return cls(*(tuple(column.to_pylist()) for column in table.columns))

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[str, str, bool]]) -> Self:
        """Make passages of what `rows` gives."""
        columns = list(zip(*rows, strict=True))
        return cls(*columns) if columns else cls()

    def rows(self) -> list[tuple[str, str, bool]]:
        """Return text, prompt and whether it is finished, of each passage."""
        return list(zip(self.texts, self.prompts, self.finished, strict=True))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def has_prompts(self) -> bool:
        """Whether any text continues a prompt."""
        return any(self.prompts)

    def first(self, num: int) -> Self:
        """Return the first `num` passages, or all."""
        return type(self)(self.texts[:num], self.prompts[:num], self.finished[:num])

    def take(self, rows: Iterable[int] | npt.NDArray[np.int64]) -> Self:
        """Return the passages at these indices, in that order."""
        passages = self.rows()
        return self.of_rows(passages[row] for row in rows)

    def __add__(self, other: Passages) -> Passages:
        """Join two lists of passages."""
        return Passages(
            self.texts + other.texts, self.prompts + other.prompts, self.finished + other.finished
        )

    def prompt_arguments(self) -> tuple[tuple[str, ...], ...]:
        """Arguments for a model's scoring methods behind the texts: the prompts, if there are any.

        So a model of the user's own whose methods take texts alone scores text without prompts.
        """
        return (self.prompts,) if self.has_prompts else ()

    def without_unwritten_ends(
        self, values: Sequence[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """Leave out the last value, the end token's, of each text that never reached its end.

        A text without any other token keeps it.

        Args:
            values: one array for each passage, with a value for each target token, the end
                token's last.
        """
        return [
            row if finished or len(row) < 2 else row[:-1]
            for row, finished in zip(values, self.finished, strict=True)
        ]


AsSampled = Callable[[Sequence[str]], Passages]
"""Prompts and cuts human texts as the run samples; texts too short for a prompt are left out."""


class _Tokenizer(Protocol):
    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]: ...

    def beginning(self, text: str, num_tokens: int) -> str: ...


def as_sampled(
    model: _Tokenizer, texts: Sequence[str], prompt_tokens: int | None, max_new_tokens: int
) -> Passages:
    """Prompt and cut human texts as a model's text is prompted and cut.

    Args:
        model: splits texts into tokens.
        texts: whole human documents.
        prompt_tokens: length of a prompt; None: no prompts. Documents without a token behind
            their prompt are left out, as they are when prompts are chosen.
        max_new_tokens: a text with its end token is cut to so many tokens.

    Returns:
        At most one passage for each text, in order.
    """
    prompts = [""] * len(texts)
    if prompt_tokens is not None:
        lengths = [len(ids) for ids in model.encode(texts)]
        texts = [text for text, num in zip(texts, lengths, strict=True) if num > prompt_tokens + 1]
        prompts = [model.beginning(text, prompt_tokens) for text in texts]
    rest = [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
    finished = [len(ids) <= max_new_tokens for ids in model.encode(rest)]
    cut = [
        text if is_whole else model.beginning(text, max_new_tokens)
        for text, is_whole in zip(rest, finished, strict=True)
    ]
    return Passages(tuple(cut), tuple(prompts), tuple(finished))
