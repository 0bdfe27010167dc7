"""How the network is run on this machine: fused activations, and freed memory that is kept."""

from __future__ import annotations

import ctypes

import torch
from transformers.activations import FastGELUActivation, GELUTanh, NewGELUActivation

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
# Both are 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), in eight passes over memory, each kept
# for the backward pass.
_SPELLED_OUT = (NewGELUActivation, FastGELUActivation)


def fuse(network: torch.nn.Module) -> None:
    """Put torch's own kernel in their place; the values stay the same up to rounding."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _SPELLED_OUT):
                setattr(module, name, GELUTanh())


def keep_freed_memory() -> None:
    """Keep large freed blocks for the tensors to come.

    Each step of training, sampling and scoring frees tensors of megabytes and takes as much again.
    By default glibc returns such blocks to the system, which clears every page anew. Kept, they
    cost a third of the page faults (docs/log.md). Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)
