"""`textmad plan`: everything that can be known before spending."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from textmad import mixture
from textmad.corpus import open_corpus
from textmad.models import LanguageModel, open_model
from textmad.recipe import Recipe
from textmad.seeds import stream

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")

_PROBE_TOKENS = 3_000  # enough to time, little enough to wait for
_BYTES_A_TOKEN = 6  # of a document in Parquet, its columns included (measured: chitchat, 5 to 6)


class Speed(NamedTuple):
    """What a short probe on this machine says."""

    train: float  # tokens a second
    sample: float
    score: float
    model_bytes: int  # of one saved model


@dataclass(frozen=True)
class Plan:
    """What a run will take; the estimate of time is from a short probe on this machine."""

    generations: int
    human_documents: int
    human_tokens: int
    held_out_documents: int
    held_out_tokens: int
    human_tokens_needed: int
    trained_tokens: list[int]  # by generation, epochs included
    drawn_tokens: int  # by each generation
    kept_share: float  # of the documents, by the filters that keep a fixed share
    model_tokens: int  # kept tokens that the next mixture needs
    speed: Speed

    @property
    def stages(self) -> int:
        """Folders that will be committed."""
        return 1 + 5 * (self.generations + 1)

    @property
    def disk_bytes(self) -> int:
        """Estimated size of the run folder."""
        texts = self.human_tokens + self.held_out_tokens + sum(self.trained_tokens)
        drawn = 2 * self.drawn_tokens * (self.generations + 1)
        models = self.speed.model_bytes * (self.generations + 1)
        return models + (texts + drawn) * _BYTES_A_TOKEN

    @property
    def seconds(self) -> float:
        """Estimated time of training, sampling and scoring."""
        drawn = self.drawn_tokens * (self.generations + 1)
        scored = 2 * drawn  # held-out and drawn text, under the model and the base
        return (
            sum(self.trained_tokens) / self.speed.train
            + drawn / self.speed.sample
            + scored / self.speed.score
        )

    @property
    def kept_tokens(self) -> int:
        """Tokens that the filters with a fixed share leave of what a generation draws, about."""
        return round(self.drawn_tokens * self.kept_share)

    def to_text(self) -> str:
        """A line a fact."""
        return "\n".join(
            [
                f"generations    0 to {self.generations}, {self.stages} stages",
                f"human text     {self.human_documents:,} documents, {self.human_tokens:,} tokens; "
                f"{self.human_tokens_needed:,} needed",
                f"held-out       {self.held_out_documents:,} documents, "
                f"{self.held_out_tokens:,} tokens",
                f"training       {_each(self.trained_tokens)} tokens a generation, "
                f"{sum(self.trained_tokens):,} in all ({self.speed.train:,.0f} a second here)",
                f"drawing        {self.drawn_tokens:,} tokens a generation "
                f"({self.speed.sample:,.0f} a second here)",
                f"keeping        at most about {self.kept_tokens:,} of them, "
                f"{self.model_tokens:,} needed{self._shortage()}",
                f"disk           about {self.disk_bytes / 1e6:,.0f} MB",
                f"time           about {self.seconds / 60:.1f} minutes on this machine, "
                "filters not counted",
            ]
        )

    def _shortage(self) -> str:
        if self.kept_tokens >= self.model_tokens:
            return ""
        enough = math.ceil(10 / self.kept_share) / 10
        return f": TOO FEW, raise sample.oversample to {enough:g} or more"


def make_plan(recipe: Recipe) -> Plan:
    """Read the corpus, open the model, check all budgets, and time a short probe.

    Raises:
        TextmadError: whatever would stop the run, as far as it can be known now.
    """
    model = open_model(recipe.model, recipe.sample)
    corpus = open_corpus(
        recipe.corpus, lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32)
    )
    mixture.check_human_tokens(recipe.mix, recipe.generations, corpus.human)
    return Plan(
        generations=recipe.generations,
        human_documents=len(corpus.human),
        human_tokens=sum(corpus.human["tokens"]),
        held_out_documents=len(corpus.held_out),
        held_out_tokens=sum(corpus.held_out["tokens"]),
        human_tokens_needed=mixture.human_tokens_needed(recipe.mix, recipe.generations),
        trained_tokens=[
            round(mixture.training_tokens(recipe.mix, generation) * recipe.train.epochs)
            for generation in range(recipe.generations + 1)
        ],
        drawn_tokens=mixture.model_tokens_drawn(recipe.mix, recipe.sample),
        kept_share=math.prod(getattr(judge, "kept_share", 1.0) for judge in recipe.filters()),
        model_tokens=recipe.mix.model_tokens if recipe.generations else 0,
        speed=_probe(recipe, model, corpus.human),
    )


def _probe(recipe: Recipe, model: LanguageModel, human: Dataset) -> Speed:
    """Train, draw and score a little."""
    size = int(np.searchsorted(np.cumsum(human["tokens"]), _PROBE_TOKENS)) + 1
    few = human.select(range(min(size, len(human))))
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
    )


def _saved_bytes(model: LanguageModel) -> int:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def _each(tokens: list[int]) -> str:
    return f"{tokens[0]:,}" if len(set(tokens)) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
