"""A training between two steps, on disk: what the next step depends on, and what was measured.

These are the weights that are trained, AdamW's two moments and its count of steps for each of them,
and the random state that dropout draws from. Which documents a step learns from follows from the
seed (`plan_steps`), so the number of steps is the position among them. All of it is tensors, in one
safetensors file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file

_FILE = "training.safetensors"
_MEASURED, _RANDOM, _RANDOM_ON_GPU = "measured", "random", "random on gpu"


class Trained(Protocol):
    """What is saved of a `textmad.models.causal_lm.training.Learner`."""

    model: torch.nn.Module
    optimizer: torch.optim.AdamW
    device: torch.device


def save(learner: Trained, measured: Sequence[torch.Tensor], folder: Path) -> None:
    """Write the state after `len(measured)` steps; each has measured two numbers, (2,)."""
    tensors = {_MEASURED: torch.stack(list(measured)), _RANDOM: torch.get_rng_state()}
    if learner.device.type == "cuda":
        tensors[_RANDOM_ON_GPU] = torch.cuda.get_rng_state(learner.device)
    for name, weight in _trained(learner):
        tensors[f"weight {name}"] = weight.detach()
        for kind, tensor in learner.optimizer.state[weight].items():
            tensors[f"{kind} {name}"] = tensor
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / _FILE)


def load(learner: Trained, folder: Path) -> list[torch.Tensor]:
    """Put a learner into the saved state, and return what its steps have measured."""
    tensors = load_file(folder / _FILE)
    with torch.no_grad():
        for name, weight in _trained(learner):
            weight.copy_(tensors[f"weight {name}"])
            learner.optimizer.state[weight] = {
                kind: tensors[f"{kind} {name}"].to(learner.device)
                for kind in ("step", "exp_avg", "exp_avg_sq")
                if f"{kind} {name}" in tensors  # a weight without a gradient has none
            }
    torch.set_rng_state(tensors[_RANDOM])
    if learner.device.type == "cuda":
        torch.cuda.set_rng_state(tensors[_RANDOM_ON_GPU], learner.device)
    return list(tensors[_MEASURED].to(learner.device).unbind())


def _trained(learner: Trained) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The weights that are trained, by name."""
    return ((name, p) for name, p in learner.model.named_parameters() if p.requires_grad)
