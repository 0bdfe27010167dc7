"""The weights of a model: those of its base model, and what was learned since.

What was learned is an adapter, or with `lora: null` a network of its own. Weights are made by
learning, by crossing, and by loading what was saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.errors import ModelError
from textmad.models.base_files import base_reference
from textmad.models.causal_lm import crossing, lora
from textmad.models.causal_lm.loading import Base, open_network, without_bars
from textmad.models.causal_lm.saving import save_tokenizer
from textmad.models.distributed import processes
from textmad.recipe import LoraSettings, ModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LearnInPlace = Callable[[Any], list[dict[str, float]]]
"""Trains a network in place and returns the curve."""


class Weights:
    """A base model, with an adapter or a fine-tuned network where something was learned.

    The base model is opened once and shared; weights hold only their own adapter, or with
    `lora: null` their own network (kept and trained in float32). The adapter of a model that was
    crossed has a shape of its own instead of the recipe's.
    """

    def __init__(
        self,
        base: Base,
        settings: ModelSettings,
        *,
        adapter: lora.Adapter | None = None,
        crossed_shape: LoraSettings | None = None,
        trained: PreTrainedModel | None = None,
    ) -> None:
        self.base, self.settings = base, settings
        self.adapter, self.crossed_shape, self.trained = adapter, crossed_shape, trained

    @property
    def is_fitted(self) -> bool:
        """Whether this is more than the base model."""
        return self.adapter is not None or self.trained is not None

    @property
    def latest(self) -> PreTrainedModel:
        """All weights, short of the adapter."""
        return self.base.network if self.trained is None else self.trained

    @property
    def low_rank(self) -> crossing.LowRank | None:
        """The adapter with its shape; None if nothing is learned by one."""
        if self.adapter is None or self.settings.lora is None:
            return None
        return crossing.LowRank(self.adapter, self.crossed_shape or self.settings.lora)

    @cached_property
    def network(self) -> PreTrainedModel:
        """What scores: the base model itself, the fine-tuned network, or the merged weights."""
        if self.low_rank is not None:
            adapter, shape = self.low_rank
            return lora.merge(self.base.network, shape, adapter)
        return self.latest

    # --- how new ones are made --------------------------------------------------------------

    def learned(self, learn: LearnInPlace, seed: int) -> tuple[Weights, list[dict[str, float]]]:
        """Return new weights that begin where these stand, trained by `learn`, and the curve.

        The base model gets a fresh adapter, later weights go on with their own. Crossed weights
        keep what was crossed as it is and learn by a fresh adapter of the recipe's shape; the
        result is the sum of both.
        """
        from textmad.models.distributed import parallel

        crossed = self.low_rank if self.crossed_shape is not None else None
        with parallel.room_beside(self.latest if crossed is None else self.network) as start:
            if self.settings.lora is None:
                network = copy.deepcopy(start).float().requires_grad_(True)
                curve = learn(network)
                whole = parallel.gathered(network, start).requires_grad_(False).eval()
                trained = whole.to(processes.device())
                return Weights(self.base, self.settings, trained=trained), curve
            # The base model shares its tensors with an adapted network, but not with one in shards.
            own = copy.deepcopy(start) if parallel.sharded() else start
            known = self.adapter if crossed is None else None
            adapted = lora.attach(own, self.settings.lora, seed=seed, adapter=known)
            curve = learn(adapted)
            adapter = lora.adapter_of(adapted)
        if crossed is None:
            return Weights(self.base, self.settings, adapter=adapter), curve
        fresh = crossing.LowRank(adapter, self.settings.lora)
        return self._summed([crossed, fresh], [1.0, 1.0]), curve

    def crossed(
        self,
        parents: Sequence[Weights],
        weights: Sequence[float],
        choose_layers: np.random.Generator | None,
    ) -> Weights:
        """Return the weights W0 + sum_i w_i (W_i - W0); see `CausalLM.crossed`.

        Raises:
            ModelError: a parent was trained in the other way than the settings say.
        """
        has_adapter = self.settings.lora is not None
        for number, parent in enumerate(parents, 1):
            if parent.is_fitted and has_adapter != (parent.settings.lora is not None):
                ways = ["all weights", "an adapter"]
                raise ModelError(
                    f"crossed: parent {number} has trained {ways[not has_adapter]}, the base model "
                    f"is set to train {ways[has_adapter]}; expected model.lora to be null in all "
                    "of them or in none"
                )
        if has_adapter:
            return self._summed([parent.low_rank for parent in parents], weights, choose_layers)
        networks = [
            None if parent.trained is None else (parent.trained, parent.base.network)
            for parent in parents
        ]
        trained = crossing.cross_networks(
            self.base.network, networks, weights, choose_layers=choose_layers
        )
        return Weights(self.base, self.settings, trained=trained)

    def _summed(
        self,
        parents: Sequence[crossing.LowRank | None],
        weights: Sequence[float],
        choose_layers: np.random.Generator | None = None,
    ) -> Weights:
        """Return the weights with the sum of these adapters."""
        assert self.settings.lora is not None, "adapters are summed"
        adapter, shape = crossing.cross_adapters(
            self.base.network, parents, weights, self.settings.lora, choose_layers=choose_layers
        )
        return Weights(self.base, self.settings, adapter=adapter, crossed_shape=shape)

    # --- on disk ----------------------------------------------------------------------------

    def save(self, folder: Path, name: str) -> None:
        """Write the adapter in peft's format, or the whole network; see `CausalLM.save`.

        Raises:
            ModelError: nothing was learned that could be saved; `name` is the model's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.low_rank is not None:
            lora.save(*self.low_rank, base_reference(self.settings), folder)
            if self.crossed_shape is not None:
                crossing.mark(folder, self.crossed_shape)
        elif self.trained is not None:
            with without_bars():
                self.trained.save_pretrained(folder)
        else:
            raise ModelError(f"{name}: the base model has learned nothing to be saved")
        save_tokenizer(self.base.folder, folder)

    def load(self, folder: Path, name: str) -> Weights:
        """Return the weights on the same base model that were saved in `folder`.

        Raises:
            ModelError: nothing is there, or it belongs to other settings.
        """
        if self.settings.lora is None:
            trained = open_network(folder, "float32", name)
            return Weights(self.base, self.settings, trained=trained)
        crossed_shape = crossing.marked_shape(folder)
        adapter = lora.load(folder, crossed_shape or self.settings.lora)
        return Weights(self.base, self.settings, adapter=adapter, crossed_shape=crossed_shape)
