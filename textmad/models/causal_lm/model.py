"""The language model for text: a transformers causal LM, and a LoRA adapter or full fine-tuning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from textmad.errors import ModelError
from textmad.models.base_files import base_reference
from textmad.models.causal_lm import lora
from textmad.models.causal_lm.loading import Base, open_base
from textmad.models.causal_lm.rows import encode, learned_rows, rows, rows_of_ids, samples
from textmad.models.causal_lm.sampling_network import for_sampling
from textmad.models.causal_lm.saving import export
from textmad.models.causal_lm.scoring import (
    Row,
    cross_entropy,
    mean_states,
    score,
    token_moments,
)
from textmad.models.causal_lm.verification import verify_once
from textmad.models.causal_lm.weight_changes import weight_changes
from textmad.models.causal_lm.weights import LearnInPlace, Weights
from textmad.models.parents import checked_parents
from textmad.models.protocol import (
    Advance,
    FitResult,
    LanguageModel,
    Sample,
    TokenMoments,
    TokenScores,
    WeightChange,
    no_advance,
)
from textmad.models.sampling.decoding import sample_documents
from textmad.models.sampling.slots import Draft
from textmad.recipe import ModelSettings, SampleSettings, TrainSettings
from textmad.store.checkpoints import Checkpoints

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from textmad.models.causal_lm.batches import Example

_log = logging.getLogger(__name__)


class CausalLM:
    """A base model, or a base model with what one `fit` after another has taught it (`Weights`)."""

    def __init__(self, base: Base, settings: ModelSettings, weights: Weights | None = None) -> None:
        self.name = Path(settings.base).name
        self.context = base.context
        self.vocabulary_size = int(base.network.config.vocab_size)
        self.digest = base.digest
        self.number_type = base.number_type
        self.settings = settings
        self._base = base
        self._weights = weights if weights is not None else Weights(base, settings)

    @classmethod
    def open(cls, settings: ModelSettings) -> CausalLM:
        """The base model of a recipe.

        Raises:
            ModelError: the base model is missing, unsafe or damaged, a LoRA target matches nothing,
                or the network does not compute here what its plain forward pass computes.
        """
        base = open_base(settings)
        verify_once(base.network, base.digest, settings.lora, base.context, settings.base)
        model = cls(base, settings)
        _log.info("%s: %d modules adapted by LoRA", model.name, model.num_adapted_modules)
        return model

    def with_settings(self, settings: ModelSettings) -> CausalLM:
        """Return the same base model, in no new memory, with another adapter's shape.

        Raises:
            ModelError: a LoRA target matches nothing, or the network does not compute with it.
        """
        base = self._base
        verify_once(base.network, base.digest, settings.lora, base.context, settings.base)
        return CausalLM(base, settings)

    @property
    def num_adapted_modules(self) -> int:
        """How many modules carry an adapter; 0 under full fine-tuning."""
        if self.settings.lora is None:
            return 0
        return len(lora.adapted_modules(self._base.network, self.settings.lora))

    # --- learning ---------------------------------------------------------------------------

    keeps_checkpoints = True

    def fit(
        self,
        corpus: Dataset,
        train: TrainSettings,
        *,
        seed: int,
        advance: Advance = no_advance,
        checkpoints: Checkpoints | None = None,
    ) -> FitResult:
        """Learn from `corpus` (columns text, prompt, finished), beginning where this model stands.

        A base model gets a fresh adapter, a fitted model goes on with its own. A crossed model
        keeps what was crossed as it is and learns by a fresh adapter of the recipe's shape; the
        result is the sum of both. A prompt is read and not learned; a text cut short teaches no end
        token; a text longer than the context is learned in windows, each token once. With
        `checkpoints` it goes on from the latest, and gives the same weights.
        """
        from textmad.models.causal_lm.training import train as train_in_place

        learn = partial(
            train_in_place,
            examples=self._examples(corpus),
            settings=train,
            seed=seed,
            bfloat16=self.number_type == "bfloat16",
            advance=advance,
            checkpoints=checkpoints,
        )
        return self._learned(learn, seed)

    def prefer(
        self, judged: Dataset, train: TrainSettings, *, seed: int, advance: Advance = no_advance
    ) -> FitResult:
        """Learn by `train.preference` from accepted and rejected documents; return the new model.

        The reference model is this one, as it stands before the first step. The columns are text,
        prompt, finished and `accepted`; they are read and cut as in `fit`. For DPO the first
        accepted document and the first rejected one are a pair, and so on.
        """
        from textmad.models.causal_lm.preference import Judged
        from textmad.models.causal_lm.preference import prefer as prefer_in_place

        judged_rows = map(Judged, self._learned_rows(judged), judged["accepted"])
        learn = partial(
            prefer_in_place,
            judged=list(judged_rows),
            settings=train,
            context=self.context,
            seed=seed,
            bfloat16=self.number_type == "bfloat16",
            advance=advance,
        )
        return self._learned(learn, seed)

    def _learned(self, learn: LearnInPlace, seed: int) -> FitResult:
        """Return a new model that begins where this one stands, trained in place by `learn`."""
        weights, curve = self._weights.learned(learn, seed)
        return FitResult(CausalLM(self._base, self.settings, weights), curve)

    def _examples(self, corpus: Dataset) -> list[Example]:
        from textmad.models.causal_lm.batches import examples_of

        learned = self._learned_rows(corpus)
        return [example for row in learned for example in examples_of(row, self.context)]

    def _learned_rows(self, corpus: Dataset) -> list[Row]:
        return learned_rows(self._base, corpus, self.name)

    def fit_classifier(
        self,
        texts: Sequence[str],
        accepted: Sequence[bool],
        *,
        epochs: float,
        learning_rate: float,
        seed: int,
    ) -> Callable[[Sequence[str]], np.ndarray]:
        """Learn to tell accepted texts from rejected ones; from texts to their probability.

        A fresh adapter of the shape of `model.lora` and a linear head on the base model, whatever
        this model has learned since. Nothing of it outlives what is returned.

        Raises:
            ModelError: the run trains all weights, so that no adapter's shape is known.
        """
        from textmad.models.causal_lm.classifier import fit_classifier

        if self.settings.lora is None:
            raise ModelError(
                "model.lora: null: a classifier is a low-rank adapter of that shape; set it, or "
                "use the discriminator's backend: features"
            )
        classifier = fit_classifier(
            self._base.network,
            self.settings.lora,
            self._rows(texts, None),
            accepted,
            context=self.context,
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            bfloat16=self.number_type == "bfloat16",
        )
        return lambda others: classifier.probabilities(self._rows(others, None))

    # --- crossing ---------------------------------------------------------------------------

    def crossed(
        self,
        parents: Sequence[LanguageModel],
        weights: Sequence[float],
        *,
        choose_layers: np.random.Generator | None = None,
    ) -> CausalLM:
        """Return the model with the weights W0 + sum_i w_i (W_i - W0), in float32.

        W0 is the base model's, whatever this model has learned since (`crossing`). Adapters of any
        ranks, scales and targets are summed exactly.

        Args:
            parents: fitted on this base model, all by adapters or all with `lora: null`, as this
                model's settings say; the base model itself counts as a change of zero.
            weights: one a parent, of any sign; they need not add up to 1.
            choose_layers: with it each layer comes whole from one parent, drawn with chances
                proportional to the weights; a module outside all layers counts as a layer.

        Raises:
            ModelError: the parents or weights cannot be crossed (`checked_parents`), or a parent
                was trained in the other way.
        """
        chosen = checked_parents(self, parents, weights, by_layer=choose_layers is not None)
        crossed = self._weights.crossed(
            [parent._weights for parent in chosen], weights, choose_layers
        )
        return CausalLM(self._base, self.settings, crossed)

    # --- on disk ----------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's format, or after full fine-tuning the whole model.

        The tokenizer lies beside it. `peft.AutoPeftModelForCausalLM` opens the adapter, and
        `AutoModelForCausalLM` the whole model. An adapter names its base (`lora.save`). A crossed
        adapter has its own rank, scale 1, and a file beside it that says so (`crossing.mark`).

        Raises:
            ModelError: this is the base model, which has nothing to save.
        """
        self._weights.save(folder, self.name)

    def export(self, folder: Path, notes: str = "") -> None:
        """Write an ordinary transformers folder: merged weights, tokenizer and a README card.

        Args:
            folder: absent or empty; `AutoModelForCausalLM` and `AutoTokenizer` open it, and
                `model.base` of another recipe may name it.
            notes: Markdown that stands at the card's end, such as the run and its generation.

        Raises:
            RunError: there is something in `folder` already.
        """
        reference = base_reference(self.settings)
        export(self._network, self._base.folder, reference, folder, notes)

    def load(self, folder: Path) -> CausalLM:
        """The model that one fitted on this base model saved in `folder`.

        Raises:
            ModelError: nothing is there, or it belongs to other settings.
        """
        weights = self._weights.load(folder, self.name)
        return CausalLM(self._base, self.settings, weights)

    # --- text and numbers -------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Target ids of each text (int32), end token last.

        No other special token is ever added, and characters that spell one ("</s>") are encoded as
        the characters they are.
        """
        return encode(self._base, texts)

    def beginning(self, text: str, num_tokens: int) -> str:
        """Return the first `num_tokens` tokens of a text as text, for a prompt.

        Fewer where the cut would fall inside a character.

        Raises:
            ModelError: the tokenizer does not give the text back.
        """
        return self._base.text.beginning(text, num_tokens)

    def read_back(self, texts: Sequence[str]) -> list[str]:
        """Return documents as they read after encoding and decoding.

        A sampled text can hold no character that the tokenizer does not know, so human text is
        comparable with it once it has been read back.
        """
        return self._base.text.read_back(texts)

    def _rows(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> list[Row]:
        return rows(self._base, texts, prompts)

    # --- scoring ----------------------------------------------------------------------------

    @property
    def _network(self) -> PreTrainedModel:
        return self._weights.network

    def token_nll(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Nats per target token (float64), end token last; a prompt is context and not scored."""
        return self.token_scores(texts, prompts).nll

    def token_scores(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> TokenScores:
        """The same, with whether each token was the most likely one."""
        return score(self._network, self._rows(texts, prompts), self.context)

    def nll_of_ids(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Nats of each id as it was sampled, and of an end token behind them."""
        return score(self._network, rows_of_ids(self._base, ids, prompts), self.context).nll

    def token_moments(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> TokenMoments:
        """Nats per target token beside their exact mean and variance before it was seen."""
        return token_moments(self._network, self._rows(texts, prompts), self.context)

    def cross_entropy(
        self, texts: Sequence[str], observer: CausalLM, prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Mean nats under this model of what `observer` would draw at each target token."""
        given = self._rows(texts, prompts)
        return cross_entropy(self._network, observer._network, given, self.context)

    def embed(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> list[np.ndarray]:
        """The mean of the last hidden states at each text's tokens, `(hidden size,)` float64."""
        return mean_states(self._network, self._rows(texts, prompts), self.context)

    def weight_changes(self) -> list[WeightChange]:
        """Return how far training moved the weights, module by module; none for the base model."""
        if self._network is self._base.network:
            return []
        return weight_changes(self._base.network, self._network)

    # --- sampling ---------------------------------------------------------------------------

    @cached_property
    def _sampling_network(self) -> PreTrainedModel:
        return for_sampling(self._network)

    def sample(
        self,
        settings: SampleSettings,
        *,
        num_tokens: int,
        stream: Callable[[int], np.random.Generator],
        prompt: Callable[[int], str] | None = None,
        advance: Advance = no_advance,
    ) -> list[Sample]:
        """Documents 0, 1, 2, ...: the shortest prefix with at least `num_tokens` tokens.

        All processes of a run have to call it together, and all get the whole list.

        Raises:
            ModelError: a prompt and `max_new_tokens` do not fit the model's positions.
        """

        def prompt_ids(index: int) -> np.ndarray:
            [ids] = self._base.text.encode([prompt(index) if prompt is not None else ""])
            return np.array([self._base.start, *ids], np.int64)

        return sample_documents(
            self._sampling_network,
            settings,
            num_tokens=num_tokens,
            stream=stream,
            prompt_ids=prompt_ids,
            end=self._base.end,
            context=self.context,
            read=self._read,
            advance=advance,
        )

    def _read(self, drafts: Sequence[Draft]) -> list[Sample]:
        return samples(self._base, drafts)
