"""A short probe of this machine: trains, samples and scores a little."""

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

_WARM_UP_TOKENS = 300
_LONGEST_WARM_UP = 10.0  # seconds
_PROBE_TOKENS = 3_000  # enough to time, little enough to wait for
_SPREAD_OF_ONE = 2.0  # of one small pass, which nothing can be compared with


class Speed(NamedTuple):
    """What a short probe on this machine says."""

    train: float  # tokens a second
    sample: float
    score: float
    model_bytes: int  # of one saved model
    finished: float = 1.0  # share of the sampled tokens that are in documents with an end
    spread: float = 1.0  # slowest against fastest of the same work, measured twice


def probe(recipe: Recipe, model: LanguageModel, human: Dataset) -> Speed:
    """Train, sample and score a little, and return how fast that is here.

    The first, small pass is a warm-up. If it takes more than ten seconds, it is the only one, so
    that the probe of a large model on a CPU ends. Else two larger passes are timed.
    """
    small = _pass(recipe, model, human, _WARM_UP_TOKENS)
    if small.seconds > _LONGEST_WARM_UP:
        return small.speed._replace(spread=_SPREAD_OF_ONE)
    passes = [_pass(recipe, model, human, _PROBE_TOKENS) for _ in range(2)]
    faster, slower = sorted(passes, key=lambda each: each.seconds)
    return faster.speed._replace(spread=slower.seconds / faster.seconds)


class _Pass(NamedTuple):
    speed: Speed
    seconds: float


def _pass(recipe: Recipe, model: LanguageModel, human: Dataset, num_tokens: int) -> _Pass:
    """Train, sample and score about so many tokens."""
    size = int(np.searchsorted(np.cumsum(token_counts(human)), num_tokens)) + 1
    few = human.select(range(min(max(size, 2), len(human))))  # a variance needs two
    human_tokens = sum(few["tokens"])
    once = recipe.train.model_copy(update={"epochs": 1.0})
    fitted, train_seconds = _timed(lambda: model.fit(few, once, seed=0).model)
    sampled, sample_seconds = _timed(
        lambda: fitted.sample(
            recipe.sample, num_tokens=num_tokens, stream=lambda i: stream(0, "probe", i)
        )
    )
    _, score_seconds = _timed(lambda: fitted.token_nll(few["text"]))
    lengths = [document.tokens for document in sampled]
    speed = Speed(
        train=human_tokens / train_seconds,
        sample=sum(lengths) / sample_seconds,
        score=human_tokens / score_seconds,
        model_bytes=_saved_bytes(fitted),
        finished=float(np.average([each.finished for each in sampled], weights=lengths)),
    )
    return _Pass(speed, train_seconds + sample_seconds + score_seconds)


def _saved_bytes(model: LanguageModel) -> int:
    with temporary_files(), tempfile.TemporaryDirectory(prefix="textmad-") as folder:
        model.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun
