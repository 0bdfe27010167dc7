"""What the toy models share: each position of a document has its own independent model.

All documents have the same number of words, and words at different positions are independent. So a
document of C words is one draw from each of C models, and a run that learns from n documents a
generation is C runs of n draws: thousands of replicates for the cost of reading and writing one
run. With documents of one word it is the textbook's model.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from textmad.errors import ModelError, check_disk
from textmad.models.protocol import Advance, FitResult, Sample, TokenScores, no_advance
from textmad.recipe import ModelSettings, SampleSettings, TrainSettings

if TYPE_CHECKING:
    from datasets import Dataset

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]
"""A document as numbers (int64 or float64), one a word; in rows, several documents."""

_WEIGHTS = "model.safetensors"
_AT_ONCE = 2**20  # words drawn together: bounds the memory, not the result


class IndependentPositionModel(ABC):
    """A language model (`textmad.models.LanguageModel`) without context.

    The base model has learned nothing and reads documents of any length. A fitted model knows the
    number of words, `num_positions`; the end after the last word is certain, and costs 0 nats. A
    prompt is an error: it would say nothing about what follows.

    Args:
        settings: of the recipe.
        learned: parameters by name, none for the base model.
    """

    name: str
    context = 2**20
    vocabulary_size: int  # words, and the end

    def __init__(
        self, settings: ModelSettings, learned: dict[str, npt.NDArray[Any]] | None = None
    ) -> None:
        self.settings = settings
        self.learned = learned
        # The base model has nothing but its settings.
        facts = f"{self.name} {settings.categories} {settings.smoothing!r}"
        self.digest = hashlib.sha256(facts.encode()).hexdigest()

    # --- what a word is ---------------------------------------------------------------------

    @abstractmethod
    def read(self, words: Sequence[str]) -> Values:
        """A document's words as numbers, `(words,)`.

        Raises:
            ModelError: a word is none of this model's.
        """

    @abstractmethod
    def written(self, values: Values) -> str:
        """The text that `read` reads as these numbers."""

    @abstractmethod
    def ids(self, values: Values) -> npt.NDArray[np.int32]:
        """The words' token ids, above 0; the end's id is 0."""

    # --- what is learned of it --------------------------------------------------------------

    @abstractmethod
    def learn(self, values: Values) -> dict[str, npt.NDArray[Any]]:
        """The parameters, from documents `(documents, positions)`."""

    @property
    @abstractmethod
    def num_positions(self) -> int | None:
        """Words of a document; None before anything is learned."""

    @abstractmethod
    def noise(self, rng: np.random.Generator, num_positions: int) -> Floats:
        """The random numbers of a document, one a word."""

    @abstractmethod
    def sampler(self, temperature: float) -> Callable[[Floats], Values]:
        """A function from noise `(documents, positions)` to draws from p^(1 / temperature)."""

    @abstractmethod
    def nll(self, values: Values) -> npt.NDArray[np.float64]:
        """Nats of each word of a document that has no more than `num_positions` of them."""

    @abstractmethod
    def is_mode(self, values: Values) -> npt.NDArray[np.bool_]:
        """Whether each word is the most likely one at its position."""

    def _parameter(self, name: str) -> npt.NDArray[Any]:
        assert self.learned is not None, "nothing is learned yet"
        return self.learned[name]

    # --- the protocol -----------------------------------------------------------------------

    def fit(
        self, corpus: Dataset, train: TrainSettings, *, seed: int, advance: Advance = no_advance
    ) -> FitResult:
        """Learn from `corpus` alone, whatever this model has learned before; nothing is random.

        Raises:
            ModelError: a word is none, or the documents differ in length.
        """
        rows = [self.read(text.split()) for text in corpus["text"][:]]
        lengths = np.array([len(row) for row in rows])
        if (odd := np.flatnonzero(lengths != lengths[0])).size:
            raise ModelError(
                f"{self.name}: document {corpus[int(odd[0])]['id']} has {lengths[odd[0]]} words, "
                f"document {corpus[0]['id']} has {lengths[0]}: expected as many in each; set "
                "corpus.min_words and corpus.max_words to the same number"
            )
        advance(int(lengths.sum()) + len(rows))
        return FitResult(type(self)(self.settings, self.learn(np.stack(rows))), curve=[])

    def save(self, folder: Path) -> None:
        """Write the parameters.

        Raises:
            ModelError: this is the base model.
        """
        from safetensors.numpy import save_file

        if self.learned is None:
            raise ModelError(f"{self.name}: the base model has learned nothing to be saved")
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.learned, folder / _WEIGHTS)

    def load(self, folder: Path) -> Self:
        """The model that one fitted on this base model saved in `folder`.

        Raises:
            ModelError: nothing is there, or it is damaged.
            RunError: the disk does not give it.
        """
        from safetensors.numpy import load_file

        try:
            return type(self)(self.settings, load_file(folder / _WEIGHTS))
        except Exception as error:  # whatever a damaged file makes the parser raise
            check_disk(folder / _WEIGHTS, error)
            raise ModelError(f"{self.name}: {folder / _WEIGHTS}: cannot be read: {error}") from None

    @property
    def can_write(self) -> bool:
        """Whether anything is learned that could be drawn."""
        return self.learned is not None

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of the words of each text, and 0 for the end."""
        end = np.zeros(1, np.int32)
        return [np.concatenate([self.ids(self.read(text.split())), end]) for text in texts]

    def beginning(self, text: str, num_tokens: int) -> str:
        """The first words."""
        return " ".join(text.split()[:num_tokens])

    def sample(
        self,
        settings: SampleSettings,
        *,
        num_tokens: int,
        stream: Callable[[int], np.random.Generator],
        prompt: Callable[[int], str] | None = None,
        advance: Advance = no_advance,
    ) -> list[Sample]:
        """Documents 0, 1, 2, ...: the fewest with at least `num_tokens` tokens, each to its end.

        Raises:
            ModelError: a document does not fit `max_new_tokens`, or there is a prompt.
        """
        self._check_no_prompts([prompt(0)] if prompt else None)
        if self.num_positions is None:
            raise ModelError(f"{self.name}: the base model has learned nothing to be drawn")
        tokens = self.num_positions + 1
        if settings.max_new_tokens < tokens:
            raise ModelError(
                f"sample.max_new_tokens: {settings.max_new_tokens}: a document of {self.name} has "
                f"{tokens} tokens, its end included; expected at least as many"
            )
        draw, drawn = self.sampler(settings.temperature), []
        num_documents, at_once = math.ceil(num_tokens / tokens), max(1, _AT_ONCE // tokens)
        for start in range(0, num_documents, at_once):
            indices = range(start, min(start + at_once, num_documents))
            noise = np.stack([self.noise(stream(index), tokens - 1) for index in indices])
            drawn += [
                Sample(self.written(row), finished=True, tokens=tokens) for row in draw(noise)
            ]
            advance(tokens * len(indices))
        return drawn

    def token_nll(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Nats a word, the end last; infinite where it is impossible."""
        return self.token_scores(texts, prompts).nll

    def token_scores(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> TokenScores:
        """The same, with whether each word was the most likely one.

        Raises:
            ModelError: a word is none of this model's, or there is a prompt.
        """
        self._check_no_prompts(prompts)
        scores = [self._scores(self.read(text.split())) for text in texts]
        return TokenScores([nll for nll, _ in scores], [correct for _, correct in scores])

    def _scores(self, values: Values) -> tuple[np.ndarray, np.ndarray]:
        known = len(values) if self.num_positions is None else min(len(values), self.num_positions)
        nll, correct = np.full(len(values) + 1, math.inf), np.zeros(len(values) + 1, bool)
        nll[:known], correct[:known] = self.nll(values[:known]), self.is_mode(values[:known])
        if self.num_positions in (None, len(values)):
            nll[-1], correct[-1] = 0.0, True
        return nll, correct

    def _check_no_prompts(self, prompts: Sequence[str] | None) -> None:
        if any(prompts or ()):
            raise ModelError(f"{self.name}: takes no prompt: no word depends on another")
