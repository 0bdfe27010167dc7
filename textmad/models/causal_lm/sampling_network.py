"""The network for sampling: the same weights, with attention over slots."""

from __future__ import annotations

import math

import torch
from transformers import PreTrainedModel
from transformers.activations import GELUTanh, NewGELUActivation

from textmad.models.causal_lm.lora import sharing
from textmad.models.sampling.slot_cache import ATTENTION


def for_sampling(network: PreTrainedModel, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Return a copy of `network` with attention over slots.

    It shares the tensors if their type is `dtype`. The default is bfloat16 on a GPU and the
    network's own type on CPU.
    """
    prepared = sharing(network)
    prepared.set_attn_implementation(ATTENTION)
    for name, module in list(prepared.named_modules()):
        if isinstance(module, GELUTanh | NewGELUActivation):
            prepared.set_submodule(name, _TanhGelu())
        elif isinstance(
            module, torch.nn.Dropout
        ):  # has no effect here, and costs 2 microseconds a call
            prepared.set_submodule(name, torch.nn.Identity())
    if dtype is None:
        dtype = torch.bfloat16 if network.device.type == "cuda" else network.dtype
    if dtype != network.dtype:
        prepared = prepared.to(dtype)
    return prepared.eval()


class _TanhGelu(torch.nn.Module):
    """GPT-2's activation as x * sigmoid(2 z), which equals x / 2 * (1 + tanh z).

    On CPU torch's own takes two and a half times as long, transformers' `gelu_new` ten times.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_cuda:
            return torch.nn.functional.gelu(x, approximate="tanh")
        twice = 2 * math.sqrt(2 / math.pi)
        slope = torch.addcmul(x.new_tensor(twice), x, x, value=twice * 0.044715)
        return slope.mul_(x).sigmoid_().mul_(x)
