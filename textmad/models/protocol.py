"""Language models: what the loop asks of one, and how the base model is opened.

`CausalLM` (transformers and peft) is the one for text; the toys in `TOY_MODELS` are those whose
collapse has a closed form. Anything else with these methods goes through the same loop: name its
factory in the recipe as `base: module:name`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from textmad.errors import CurationError, ModelError
from textmad.recipe import ModelSettings, SampleSettings, TrainSettings

if TYPE_CHECKING:
    from datasets import Dataset

Advance = Callable[[int], None]
"""Told the number of tokens just done, for the progress display."""


def no_advance(num_tokens: int) -> None:
    """Tell nobody."""


class Sample(NamedTuple):
    """One document a model wrote."""

    text: str
    finished: bool  # False: cut at max_new_tokens
    tokens: int  # target tokens of the text as it will be read again, end token if finished
    # The ids that were sampled, without the end token, if the text encodes to others; else None.
    sampled_ids: tuple[int, ...] | None = None


class TokenScores(NamedTuple):
    """What a model gives each target token of each text, end token last."""

    nll: list[np.ndarray]  # float64, nats
    correct: list[np.ndarray]  # bool: the token was the most likely one


class TokenMoments(NamedTuple):
    """Exact statistics of the prediction of each target token of each text, end token last.

    With p the model's distribution of the token given what is before it: mean and variance of
    -log p(v) over v drawn from p; float64.
    """

    nll: list[np.ndarray]  # of the text's own token, nats
    entropy: list[np.ndarray]  # expected, nats
    variance: list[np.ndarray]  # nats squared


class WeightChange(NamedTuple):
    """How far training has moved one weight of the base model, in Frobenius norms."""

    name: str
    update: float  # of the weight less the base model's
    base: float  # of the base model's
    num: int  # numbers in it


class FitResult(NamedTuple):
    """A model that has learned, and how it went."""

    model: LanguageModel
    curve: list[dict[str, Any]]  # a row an optimizer step: step, tokens, loss, ...


class LanguageModel(Protocol):
    """What the loop asks of a model, base or fitted."""

    name: str
    context: int  # positions: start token, prompt and text together
    vocabulary_size: int  # ids of tokens are below it
    digest: str  # of what the base model consists of: weights, tokenizer

    def fit(
        self, corpus: Dataset, train: TrainSettings, *, seed: int, advance: Advance = no_advance
    ) -> FitResult:
        """Learn from `corpus`; the receiver stays as it is."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs, safetensors and JSON only."""
        ...

    def load(self, folder: Path) -> LanguageModel:
        """Open what a fitted model of the same base model saved."""
        ...

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the target ids of each text, end token last, aligned with `token_nll`."""
        ...

    def beginning(self, text: str, num_tokens: int) -> str:
        """Return the first `num_tokens` tokens of a text as text, for a prompt."""
        ...

    def sample(
        self,
        settings: SampleSettings,
        *,
        num_tokens: int,
        stream: Callable[[int], np.random.Generator],
        prompt: Callable[[int], str] | None = None,
        advance: Advance = no_advance,
    ) -> list[Sample]:
        """Sample documents 0, 1, 2, ...; return the fewest with at least `num_tokens` tokens.

        The base model is asked too, before any fit: its own text is a reference. A base model that
            cannot write
        before it has learned says so by an attribute `can_write` that is False.

        Document i uses the random numbers of `stream(i)` and continues `prompt(i)`.
        """
        ...

    def token_nll(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Return nats per target token, `(tokens,)` a text; a prompt is context, not scored."""
        ...

    def token_scores(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> TokenScores:
        """Return the same with whether each token was the most likely one."""
        ...


@runtime_checkable
class SupportsTokenMoments(Protocol):
    """An optional capability: exact statistics of each token's prediction, for some detectors.

    Prompts are given only where there are any.
    """

    def token_moments(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> TokenMoments:
        """Return mean and variance of nats over the whole vocabulary, beside each token's nats."""
        ...

    def cross_entropy(
        self, texts: Sequence[str], observer: Any, prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Return the mean nats under this model of the observer's prediction of each token.

        -sum_v p_observer(v) log p(v), float64; `observer` is a model of the same tokenizer.
        """
        ...


@runtime_checkable
class SupportsPreference(Protocol):
    """An optional capability: learn from accepted and rejected documents (`train.preference`)."""

    def prefer(
        self, judged: Dataset, train: TrainSettings, *, seed: int, advance: Advance = no_advance
    ) -> FitResult:
        """Learn from documents with a column `accepted`; the receiver, the reference, stays."""
        ...


@runtime_checkable
class SupportsCheckpoints(Protocol):
    """An optional capability: a fit that goes on where a lost job left it."""

    keeps_checkpoints: bool  # `fit` takes `checkpoints`, and keeps one where it is due


@runtime_checkable
class SupportsSampledIds(Protocol):
    """An optional capability: scores of the very ids that were sampled."""

    def nll_of_ids(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Return nats of each id and of an end token behind them, as `token_nll` does of a text."""
        ...


@runtime_checkable
class SupportsEmbedding(Protocol):
    """An optional capability: a vector for each text, for evaluators that compare texts so.

    Where text continues prompts, a base model is given them as a second argument.
    """

    def embed(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return a vector for each text, all of one length."""
        ...


@runtime_checkable
class SupportsWeightChanges(Protocol):
    """An optional capability of a fitted model: how far training has moved its weights."""

    def weight_changes(self) -> list[WeightChange]:
        """Return a change for every weight that differs from the base model's."""
        ...


@runtime_checkable
class SupportsOtherSettings(Protocol):
    """An optional capability of a base model: another adapter on the same weights."""

    def with_settings(self, settings: ModelSettings) -> LanguageModel:
        """Return the base model as it is opened with other settings of `lora`, in no new memory."""
        ...


@runtime_checkable
class SupportsCrossing(Protocol):
    """An optional capability of a base model: a child of several models that were fitted on it."""

    def crossed(
        self,
        parents: Sequence[LanguageModel],
        weights: Sequence[float],
        *,
        choose_layers: np.random.Generator | None = None,
    ) -> LanguageModel:
        """Return the model W0 + sum_i w_i (W_i - W0), where W0 is the base model.

        Weights of any sign are for models whose weights can be added; a model that mixes
        distributions says which it takes. With `choose_layers`, each layer comes from one parent,
        drawn with chances proportional to the weights.

        Raises:
            ModelError: no parents, other weights than one a parent, a weight that cannot be used,
                or a parent of another base model.
        """
        ...


@runtime_checkable
class SupportsExport(Protocol):
    """An optional capability: the model as a folder that other programs open."""

    def export(self, folder: Path, notes: str = "") -> None:
        """Write an ordinary transformers folder; `notes` is Markdown at its card's end."""
        ...


def preferring(model: LanguageModel) -> SupportsPreference:
    """Return the model itself if it learns by preference.

    Raises:
        ModelError: it does not.
    """
    if not isinstance(model, SupportsPreference):
        raise ModelError(
            f"train.preference: the model {model.name} has no prefer(judged, train, seed=...); add "
            "it (textmad.models.protocol.SupportsPreference), or delete train.preference"
        )
    return model


def expecting(model: LanguageModel) -> SupportsTokenMoments:
    """Return the model itself if it supports token moments.

    Raises:
        CurationError: it does not.
    """
    if not isinstance(model, SupportsTokenMoments):
        raise CurationError(
            f"the model {model.name} has no token_moments(texts) and cross_entropy(texts, "
            "observer), which this filter asks for; add them to the model "
            "(textmad.models.protocol.SupportsTokenMoments), or choose a filter that does without"
        )
    return model
