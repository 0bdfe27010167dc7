"""The language model for text: a transformers causal LM, and a LoRA adapter or full fine-tuning."""

from __future__ import annotations

import copy
import logging
import operator
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.errors import ModelError
from textmad.models.base_files import base_reference
from textmad.models.causal_lm import crossing, lora
from textmad.models.causal_lm.loading import Base, open_base, open_network, without_bars
from textmad.models.causal_lm.sampling_network import for_sampling
from textmad.models.causal_lm.saving import export, save_tokenizer
from textmad.models.causal_lm.scoring import (
    Row,
    cross_entropy,
    mean_states,
    score,
    token_moments,
)
from textmad.models.causal_lm.verification import verify_once
from textmad.models.causal_lm.weight_changes import weight_changes
from textmad.models.distributed import processes
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
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, TrainSettings

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from textmad.models.causal_lm.batches import Example

_log = logging.getLogger(__name__)


class CausalLM:
    """A base model, or a base model with what one `fit` after another has taught it.

    The base model is opened once and shared; a model holds only its own adapter, or with
    `lora: null` its own weights (kept and trained in float32). The adapter of a model that was
    crossed has a shape of its own instead of the recipe's.
    """

    def __init__(
        self,
        base: Base,
        settings: ModelSettings,
        *,
        adapter: lora.Adapter | None = None,
        crossed_shape: LoraSettings | None = None,
        network: PreTrainedModel | None = None,
    ) -> None:
        self.name = Path(settings.base).name
        self.context = base.context
        self.vocabulary_size = int(base.network.config.vocab_size)
        self.digest = base.digest
        self.number_type = base.number_type
        self.settings = settings
        self._base, self._adapter, self._trained = base, adapter, network
        self._crossed_shape = crossed_shape

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

    @property
    def _latest(self) -> PreTrainedModel:
        """All weights, short of the adapter."""
        return self._base.network if self._trained is None else self._trained

    @property
    def _low_rank(self) -> crossing.LowRank | None:
        """The adapter with its shape; None if nothing is learned by one."""
        if self._adapter is None or self.settings.lora is None:
            return None
        return crossing.LowRank(self._adapter, self._crossed_shape or self.settings.lora)

    # --- learning ---------------------------------------------------------------------------

    def fit(
        self, corpus: Dataset, train: TrainSettings, *, seed: int, advance: Advance = no_advance
    ) -> FitResult:
        """Learn from `corpus` (columns text, prompt, finished), beginning where this model stands.

        A base model gets a fresh adapter, a fitted model goes on with its own. A crossed model
        keeps what was crossed as it is and learns by a fresh adapter of the recipe's shape; the
        result is the sum of both. A prompt is read and not learned; a text cut short teaches no end
        token; a text longer than the context is learned in windows, each token once.
        """
        from textmad.models.causal_lm.training import train as train_in_place

        learn = partial(
            train_in_place,
            examples=self._examples(corpus),
            settings=train,
            seed=seed,
            bfloat16=self.number_type == "bfloat16",
            advance=advance,
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

        rows = map(Judged, self._learned_rows(judged), judged["accepted"])
        learn = partial(
            prefer_in_place,
            judged=list(rows),
            settings=train,
            context=self.context,
            seed=seed,
            bfloat16=self.number_type == "bfloat16",
            advance=advance,
        )
        return self._learned(learn, seed)

    def _learned(self, learn: Callable[[Any], list[dict[str, float]]], seed: int) -> FitResult:
        """Return a new model that begins where this one stands, trained in place by `learn`."""
        from textmad.models.distributed import parallel

        crossed = self._low_rank if self._crossed_shape is not None else None
        with parallel.room_beside(self._latest if crossed is None else self._network) as start:
            if self.settings.lora is None:
                network = copy.deepcopy(start).float().requires_grad_(True)
                curve = learn(network)
                whole = parallel.gathered(network, start).requires_grad_(False).eval()
                fitted = CausalLM(self._base, self.settings, network=whole.to(processes.device()))
                return FitResult(fitted, curve)
            # The base model shares its tensors with an adapted network, but not with one in shards.
            own = copy.deepcopy(start) if parallel.sharded() else start
            known = self._adapter if crossed is None else None
            adapted = lora.attach(own, self.settings.lora, seed=seed, adapter=known)
            curve = learn(adapted)
            adapter = lora.adapter_of(adapted)
        if crossed is None:
            return FitResult(CausalLM(self._base, self.settings, adapter=adapter), curve)
        fresh = crossing.LowRank(adapter, self.settings.lora)
        return FitResult(self._crossed([crossed, fresh], [1.0, 1.0]), curve)

    def _examples(self, corpus: Dataset) -> list[Example]:
        from textmad.models.causal_lm.batches import examples_of

        rows = self._learned_rows(corpus)
        return [example for row in rows for example in examples_of(row, self.context)]

    def _learned_rows(self, corpus: Dataset) -> list[Row]:
        """Return what is learned of each document: without an end token if it was cut."""
        texts = corpus["text"][:]
        lost = sum(map(operator.ne, texts, self.read_back(texts)))
        if lost:
            _log.warning(
                "%s: %d of %d documents to learn from do not come back from their tokens: the "
                "tokenizer does not know some of their characters",
                self.name,
                lost,
                len(texts),
            )
        rows = self._rows(texts, corpus["prompt"])
        return [
            row if finished else row._replace(ids=row.ids[:-1])
            for row, finished in zip(rows, corpus["finished"], strict=True)
        ]

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
        has_adapter = self.settings.lora is not None
        for number, parent in enumerate(chosen, 1):
            if parent._is_fitted and has_adapter != (parent.settings.lora is not None):
                ways = ["all weights", "an adapter"]
                raise ModelError(
                    f"crossed: parent {number} has trained {ways[not has_adapter]}, the base model "
                    f"is set to train {ways[has_adapter]}; expected model.lora to be null in all "
                    "of them or in none"
                )
        if has_adapter:
            low_ranks = [parent._low_rank for parent in chosen]
            return self._crossed(low_ranks, weights, choose_layers)
        networks = [
            None if parent._trained is None else (parent._trained, parent._base.network)
            for parent in chosen
        ]
        network = crossing.cross_networks(
            self._base.network, networks, weights, choose_layers=choose_layers
        )
        return CausalLM(self._base, self.settings, network=network)

    def _crossed(
        self,
        parents: Sequence[crossing.LowRank | None],
        weights: Sequence[float],
        choose_layers: np.random.Generator | None = None,
    ) -> CausalLM:
        """Return the model with the sum of these adapters."""
        assert self.settings.lora is not None, "adapters are summed"
        adapter, shape = crossing.cross_adapters(
            self._base.network, parents, weights, self.settings.lora, choose_layers=choose_layers
        )
        return CausalLM(self._base, self.settings, adapter=adapter, crossed_shape=shape)

    @property
    def _is_fitted(self) -> bool:
        """Whether this is more than the base model."""
        return self._adapter is not None or self._trained is not None

    # --- on disk ----------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's format, or after full fine-tuning the whole model.

        The tokenizer lies beside it. `peft.AutoPeftModelForCausalLM` opens the adapter, and
        `AutoModelForCausalLM` the whole model. An adapter names its base (`lora.save`). A crossed
        adapter has its own rank, scale 1, and a file beside it that says so (`crossing.mark`).

        Raises:
            ModelError: this is the base model, which has nothing to save.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self._low_rank is not None:
            lora.save(*self._low_rank, base_reference(self.settings), folder)
            if self._crossed_shape is not None:
                crossing.mark(folder, self._crossed_shape)
        elif self._trained is not None:
            with without_bars():
                self._trained.save_pretrained(folder)
        else:
            raise ModelError(f"{self.name}: the base model has learned nothing to be saved")
        save_tokenizer(self._base.folder, folder)

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
        if self.settings.lora is None:
            network = open_network(folder, "float32", self.name)
            return CausalLM(self._base, self.settings, network=network)
        crossed_shape = crossing.marked_shape(folder)
        adapter = lora.load(folder, crossed_shape or self.settings.lora)
        return CausalLM(self._base, self.settings, adapter=adapter, crossed_shape=crossed_shape)

    # --- text and numbers -------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Target ids of each text (int32), end token last.

        No other special token is ever added, and characters that spell one ("</s>") are encoded as
        the characters they are.
        """
        ends = np.array([self._base.end], np.int32)
        return [np.concatenate([ids, ends]) for ids in self._base.text.encode(texts)]

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
        """Return start token, prompt, text and end token as ids, a row a text.

        Prompt and text are encoded apart, so that the border between them is kept.
        """
        given = list(prompts) if prompts is not None else [""] * len(texts)
        pieces = self._base.text.encode(texts, continues=[bool(prompt) for prompt in given])
        return self._rows_of_ids(pieces, given)

    def _rows_of_ids(
        self, pieces: Sequence[Sequence[int] | np.ndarray], prompts: Sequence[str] | None
    ) -> list[Row]:
        """Return the same of the ids of each text."""
        before = self._base.text.encode(prompts if prompts is not None else [""] * len(pieces))
        start, end = (np.array([i], np.int32) for i in (self._base.start, self._base.end))
        return [
            Row(np.concatenate([start, prompt, np.asarray(text, np.int32), end]), 1 + len(prompt))
            for prompt, text in zip(before, pieces, strict=True)
        ]

    # --- scoring ----------------------------------------------------------------------------

    @cached_property
    def _network(self) -> PreTrainedModel:
        """What scores: the base model itself, the fine-tuned copy, or the merged weights."""
        if self._low_rank is not None:
            adapter, shape = self._low_rank
            return lora.merge(self._base.network, shape, adapter)
        return self._latest

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
        return score(self._network, self._rows_of_ids(ids, prompts), self.context).nll

    def token_moments(
        self, texts: Sequence[str], prompts: Sequence[str] | None = None
    ) -> TokenMoments:
        """Nats per target token beside their exact mean and variance before it was seen."""
        return token_moments(self._network, self._rows(texts, prompts), self.context)

    def cross_entropy(
        self, texts: Sequence[str], observer: CausalLM, prompts: Sequence[str] | None = None
    ) -> list[np.ndarray]:
        """Mean nats under this model of what `observer` would draw at each target token."""
        rows = self._rows(texts, prompts)
        return cross_entropy(self._network, observer._network, rows, self.context)

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
        """Return drafts as samples: ids back to text, and the text's tokens as it will be read.

        Special tokens drawn inside a text (start, unknown, padding) stand for no characters and
        leave none. What follows a prompt is decoded as its continuation, so `prompt + text` reads
        as the model wrote it.
        """
        continues = [len(draft.prompt) > 1 for draft in drafts]  # more than the start token
        texts = self._base.text.decode([draft.ids.tolist() for draft in drafts], continues)
        pieces = self._base.text.encode(texts, continues)
        return [
            Sample(
                text,
                draft.finished,
                tokens=len(ids) + draft.finished,
                sampled_ids=None if np.array_equal(ids, draft.ids) else tuple(draft.ids.tolist()),
            )
            for text, draft, ids in zip(texts, drafts, pieces, strict=True)
        ]
