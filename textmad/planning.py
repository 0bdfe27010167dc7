"""`textmad plan`: everything that can be known before spending."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad import mixture
from textmad.corpus import open_corpus
from textmad.errors import CorpusError
from textmad.models import LanguageModel, open_model
from textmad.recipe import Recipe
from textmad.seeds import stream

if TYPE_CHECKING:
    from datasets import Dataset

_PROBE_TOKENS = 3_000  # enough to time, little enough to wait for
_BYTES_A_TOKEN = 6  # of a document in Parquet, its columns included (measured: chitchat, 5 to 6)


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
    adapter_bytes: int
    train_rate: float  # tokens a second
    sample_rate: float
    score_rate: float

    @property
    def stages(self) -> int:
        """Folders that will be committed."""
        return 1 + 5 * (self.generations + 1)

    @property
    def disk_bytes(self) -> int:
        """Estimated size of the run folder."""
        texts = self.human_tokens + self.held_out_tokens + sum(self.trained_tokens)
        drawn = 2 * self.drawn_tokens * (self.generations + 1)
        models = self.adapter_bytes * (self.generations + 1)
        return models + (texts + drawn) * _BYTES_A_TOKEN

    @property
    def seconds(self) -> float:
        """Estimated time of training, sampling and scoring."""
        drawn = self.drawn_tokens * (self.generations + 1)
        scored = 2 * drawn  # held-out and drawn text, under the model and the base
        return (
            sum(self.trained_tokens) / self.train_rate
            + drawn / self.sample_rate
            + scored / self.score_rate
        )

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
                f"{sum(self.trained_tokens):,} in all ({self.train_rate:,.0f} a second here)",
                f"drawing        {self.drawn_tokens:,} tokens a generation "
                f"({self.sample_rate:,.0f} a second here)",
                f"disk           about {self.disk_bytes / 1e6:,.0f} MB",
                f"time           about {self.seconds / 60:.1f} minutes on this machine, "
                "filters not counted",
            ]
        )


def make_plan(recipe: Recipe) -> Plan:
    """Read the corpus, open the model, check all budgets, and time a short probe.

    Raises:
        TextmadError: whatever would stop the run, as far as it can be known now.
    """
    recipe.filters(), recipe.evaluators()
    model = open_model(recipe.model)
    check_lengths(recipe, model)
    corpus = open_corpus(
        recipe.corpus, lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32)
    )
    human_tokens = sum(corpus.human["tokens"])
    needed = mixture.human_tokens_needed(recipe.mix, recipe.generations)
    if needed > human_tokens:
        raise CorpusError(
            f"corpus: the recipe needs {needed:,} tokens of human text for {recipe.generations} "
            f"generations, {human_tokens:,} are there: lower mix.human_tokens, mix.model_tokens or "
            "generations, or give a larger corpus"
        )
    train_rate, sample_rate, score_rate, num_bytes = _probe(recipe, model, corpus.human)
    return Plan(
        generations=recipe.generations,
        human_documents=len(corpus.human),
        human_tokens=human_tokens,
        held_out_documents=len(corpus.held_out),
        held_out_tokens=sum(corpus.held_out["tokens"]),
        human_tokens_needed=needed,
        trained_tokens=[
            round(mixture.training_tokens(recipe.mix, generation) * recipe.train.epochs)
            for generation in range(recipe.generations + 1)
        ],
        drawn_tokens=mixture.model_tokens_drawn(recipe.mix, recipe.sample),
        adapter_bytes=num_bytes,
        train_rate=train_rate,
        sample_rate=sample_rate,
        score_rate=score_rate,
    )


def _probe(
    recipe: Recipe, model: LanguageModel, human: Dataset
) -> tuple[float, float, float, int]:
    """Tokens a second of training, sampling and scoring, and the bytes of a saved model."""
    import tempfile
    from pathlib import Path

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
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder))
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return (
        num_tokens / train_seconds,
        sum(document.tokens for document in drawn) / sample_seconds,
        num_tokens / score_seconds,
        num_bytes,
    )


def _timed[T](call: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def _each(tokens: list[int]) -> str:
    return f"{tokens[0]:,}" if len(set(tokens)) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
