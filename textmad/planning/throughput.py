"""A short probe of this machine: trains, draws and scores a little."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from textmad.errors import temporary_files
from textmad.models.protocol import LanguageModel
from textmad.recipe import Recipe
from textmad.seeds import stream
from textmad.text.documents import token_counts

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")

_PROBE_TOKENS = 3_000  # enough to time, little enough to wait for


class Speed(NamedTuple):
    """What a short probe on this machine says."""

    train: float  # tokens a second
    sample: float
    score: float
    model_bytes: int  # of one saved model
    finished: float = 1.0  # share of the drawn tokens that are in documents with an end


def probe(recipe: Recipe, model: LanguageModel, human: Dataset) -> Speed:
    """Train, draw and score a little."""
    size = int(np.searchsorted(np.cumsum(token_counts(human)), _PROBE_TOKENS)) + 1
    few = human.select(range(min(max(size, 2), len(human))))  # a variance wants two
    num_tokens = sum(few["tokens"])
    once = recipe.train.model_copy(update={"epochs": 1.0})
    fitted, train_seconds = _timed(lambda: model.fit(few, once, seed=0).model)
    drawn, sample_seconds = _timed(
        lambda: fitted.sample(
            recipe.sample, num_tokens=_PROBE_TOKENS, stream=lambda i: stream(0, "probe", i)
        )
    )
    _, score_seconds = _timed(lambda: fitted.token_nll(few["text"]))
    return Speed(
        train=num_tokens / train_seconds,
        sample=sum(document.tokens for document in drawn) / sample_seconds,
        score=num_tokens / score_seconds,
        model_bytes=_saved_bytes(fitted),
        finished=float(np.average([d.finished for d in drawn], weights=[d.tokens for d in drawn])),
    )


def _saved_bytes(model: LanguageModel) -> int:
    with temporary_files(), tempfile.TemporaryDirectory(prefix="textmad-") as folder:
        model.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun
