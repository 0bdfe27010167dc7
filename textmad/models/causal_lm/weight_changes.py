"""How far learning has moved a network's weights from the base's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from textmad.models.protocol import WeightChange

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def weight_changes(base: PreTrainedModel, learned: PreTrainedModel) -> list[WeightChange]:
    """Every parameter of `learned` that is not the base's own, by the base's names.

    An adapter counts as what it adds to the weight, so rank and scale are in it.
    """
    found = []
    own = dict(learned.named_parameters())
    for name, before in base.named_parameters():
        after = own[name]
        if after is before:
            continue
        update = _norm(after.to(torch.float64) - before.to(torch.float64))
        if update:  # below float32 the whole network is a copy, most of it unchanged
            found.append(WeightChange(name, update, _norm(before), before.numel()))
    return found


def _norm(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
