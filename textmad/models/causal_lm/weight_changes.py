"""How far learning has moved a network's weights from the base model's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from textmad.models.protocol import WeightChange

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def weight_changes(base: PreTrainedModel, learned: PreTrainedModel) -> list[WeightChange]:
    """Return a change for every parameter of `learned` that differs from the base model's.

    Names are the base model's. An adapter counts as what it adds to the weight, so rank and scale
    are in it. Tied weights have two names: they are one change where they changed together, and an
    adapter on the output layer alone is a change of the output layer.
    """
    changes = []
    learned_parameters = dict(learned.named_parameters(remove_duplicate=False))
    compared = set()
    for name, before in base.named_parameters(remove_duplicate=False):
        after = learned_parameters[name]
        if after is before or (id(before), id(after)) in compared:
            continue
        compared.add((id(before), id(after)))
        update = _norm(after.to(torch.float64) - before.to(torch.float64))
        if update:  # below float32 the whole network is a copy, most of it unchanged
            changes.append(WeightChange(name, update, _norm(before), before.numel()))
    return changes


def _norm(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
