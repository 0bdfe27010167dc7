"""Synthetic documents and a toy model, for contract checks that need no torch and no corpus."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textmad.curation.protocol import Classify
from textmad.curation.text_features import fit_text_classifier
from textmad.seeds import stream
from textmad.text.documents import documents

if TYPE_CHECKING:
    from datasets import Dataset


def synthetic_texts(num_documents: int, *names: str | int) -> list[str]:
    """Texts of 10 to 40 words with human-like word frequencies; no two are near-copies."""
    rng = stream(0, "synthetic", *names)
    words = np.array([a + b + c for a in "bdfklmnt" for b in "aeiou" for c in "lmnrst"])
    shares = 1 / np.arange(1, len(words) + 1)
    lengths = rng.integers(10, 41, num_documents)
    return [
        " ".join(rng.choice(words, size=length, p=shares / shares.sum())).capitalize() + "."
        for length in lengths
    ]


def human_documents(num_documents: int, name: str) -> Dataset:
    """So many human documents with random votes; another name, other texts."""
    rng = stream(0, "synthetic votes", name)
    return documents(
        {
            "text": synthetic_texts(num_documents, name),
            "tokens": [20] * num_documents,
            "votes": rng.integers(0, 100, num_documents).astype(float).tolist(),
        }
    )


def model_documents(generation: int, texts: Sequence[str]) -> Dataset:
    """These texts as what the toy model of this generation wrote."""
    return documents(
        {
            "text": texts,
            "id": [f"g{generation}-{index:05d}" for index in range(len(texts))],
            "origin": ["model"] * len(texts),
            "generation": [generation] * len(texts),
            "author": ["toy"] * len(texts),
            "tokens": [len(text.split()) + 1 for text in texts],
        }
    )


def written(generation: int, num_documents: int) -> Dataset:
    """So many documents that the toy model of this generation wrote."""
    return model_documents(generation, synthetic_texts(num_documents, "model", generation))


def fit_toy_classifier(
    texts: Sequence[str],
    accepted: Sequence[bool],
    *,
    epochs: float,
    learning_rate: float,
    seed: int,
) -> Classify:
    """Learns from words alone, in one way, where a network would take its time."""
    return fit_text_classifier(texts, accepted)


@dataclass(frozen=True)
class ToyModel:
    """Gives each word a loss that depends on the word alone; neither learns nor writes."""

    seed: int
    name: str = "toy"
    context: int = 1024
    vocabulary_size: int = 998

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """A number for each word, then 0 for the end."""
        return [
            np.array([zlib.crc32(w.encode()) % 997 + 1 for w in text.split()] + [0], dtype=np.int32)
            for text in texts
        ]

    def token_nll(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """Nats per word and for the end, from 1 to 5."""
        return [1.0 + (ids * self.seed % 101) / 25.0 for ids in self.encode(texts)]

    def token_scores(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> Any:
        """The same, with a word counted as hit where its loss is below 2 nats."""
        from textmad.models.protocol import TokenScores

        nll = self.token_nll(texts, prompts)
        return TokenScores(nll=nll, correct=[losses < 2.0 for losses in nll])

    def token_moments(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> Any:
        """Nats per word beside the mean and variance that they would have if 1 to 5 were even."""
        from textmad.models.protocol import TokenMoments

        nll = self.token_nll(texts)
        return TokenMoments(
            nll,
            entropy=[np.full(len(losses), 3.0) for losses in nll],
            variance=[np.full(len(losses), 4.0 / 3.0) for losses in nll],
        )

    def embed(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """Shares of the words by their number's remainder, and of the end."""
        counts = [np.bincount(ids % 7, minlength=7) for ids in self.encode(texts)]
        return [count / count.sum() for count in counts]

    def weight_changes(self) -> Any:
        """As of two weights, one moved by a tenth and one by a fifth."""
        from textmad.models.protocol import WeightChange

        return [WeightChange("one", 0.1, 1.0, 4), WeightChange("two", 0.4, 2.0, 9)]

    def cross_entropy(
        self, texts: Sequence[str], observer: ToyModel, prompts: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """The mean of both models' nats per word."""
        pairs = zip(self.token_nll(texts), observer.token_nll(texts), strict=True)
        return [(own + other) / 2 for own, other in pairs]
