"""Drawing text: `generate` with its default cache, against `CausalLM.sample`.

Both draw from the same model without an adapter (a merged one is no different), and give texts.
Counted are the tokens of the texts as they will be read again, end tokens included: what is drawn
behind an end token, or dropped with a surplus document, counts for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import plain_generation
from benchmarks.sides import Done
from benchmarks.workload import base_folder, our_model
from textmad.recipe import SampleSettings
from textmad.seeds import stream


def plain(
    base: str,
    dtype: str,
    rows: Sequence[int],
    num_tokens: int,
    max_new_tokens: int,
    **truncation: Any,
) -> Callable[[int], Done]:
    """`generate` on batches of `rows` documents; of several `rows` each turn takes the next."""
    network, tokenizer = plain_generation.open_model(base_folder(base), dtype)

    def turn(number: int) -> Done:
        written = plain_generation.write(
            network,
            tokenizer,
            num_tokens=_wanted(num_tokens, number),
            batch_size=rows[number % len(rows)],
            max_new_tokens=max_new_tokens,
            seed=number,
            **truncation,
        )
        encoded = tokenizer(written.texts, add_special_tokens=False)["input_ids"]
        return _done(np.array([len(ids) for ids in encoded]) + written.finished)

    return turn


def ours(
    base: str,
    dtype: str,
    rows: Sequence[int],
    num_tokens: int,
    max_new_tokens: int,
    **truncation: Any,
) -> Callable[[int], Done]:
    """`CausalLM.sample` with `rows` slots; of several `rows` each turn takes the next."""
    model = our_model(base, dtype)

    def turn(number: int) -> Done:
        slots = rows[number % len(rows)]
        settings = SampleSettings(max_new_tokens=max_new_tokens, slots=slots, **truncation)
        drawn = model.sample(
            settings,
            num_tokens=_wanted(num_tokens, number),
            stream=lambda index: stream(number, "bench", index),
        )
        return _done(np.array([document.tokens for document in drawn]))

    return turn


def _wanted(num_tokens: int, number: int) -> int:
    """A tenth in turn 0, which only warms up."""
    return num_tokens if number else num_tokens // 10


def _done(lengths: np.ndarray) -> Done:
    """The squares are what attention's part of the limit is counted from."""
    lengths = lengths.astype(float)
    return Done(
        int(lengths.sum()),
        lambda: {"mean_length": lengths.mean(), "mean_square": (lengths**2).mean()},
    )
