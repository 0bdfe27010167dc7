"""Which type of numbers a base model is opened with: float32, or bfloat16 where that is faster.

bfloat16 takes half the memory. On a GPU, and on a CPU with units for it (AMX, AVX-512 BF16), it is
also faster. Other CPUs convert each number first: SmolLM2-135M trained 22 times as slowly there.
So what is fast is measured, by one product of matrices.
"""

from __future__ import annotations

import logging
import time
from functools import cache

import torch

from textmad.models.distributed import processes
from textmad.recipe import ModelSettings

_ROWS, _SIZE = 256, 1024  # tokens and width of a layer of a small model
_TURNS = 5
_MUCH_SLOWER = 1.2  # times as long: more than the noise of a busy machine's shortest turn

_log = logging.getLogger(__name__)


def number_type(settings: ModelSettings) -> str:
    """Return `float32` or `bfloat16`: what the recipe says, or what is faster on this machine.

    bfloat16 is chosen where its product of matrices is not slower than that of float32. Where the
    recipe asks for bfloat16 and it is slower, a warning says how much.
    """
    if settings.dtype == "float32":
        return "float32"
    slowdown = slowdown_of_bfloat16(processes.device().type)
    if settings.dtype == "auto":
        return "float32" if slowdown > 1 else "bfloat16"
    if slowdown > _MUCH_SLOWER:
        _log.warning(
            "model.dtype: bfloat16: this machine multiplies matrices %.1f times as slowly in "
            "bfloat16 as in float32: set model.dtype: auto or float32",
            slowdown,
        )
    return "bfloat16"


@cache
def slowdown_of_bfloat16(device: str) -> float:
    """Return the time of a product of matrices in bfloat16 over that in float32 on a device.

    The two are timed in turn, and the shortest turn of each counts: other programs only add to it.
    """
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    factors = {
        kind: (
            torch.ones(_ROWS, _SIZE, dtype=kind, device=device),
            torch.ones(_SIZE, _SIZE, dtype=kind, device=device),
        )
        for kind in seconds
    }
    for _ in range(1 + _TURNS):  # the first one warms up
        for kind, (rows, weights) in factors.items():
            begun = time.perf_counter()
            _ = (rows @ weights)[0, 0].item()  # which waits for the device
            seconds[kind].append(time.perf_counter() - begun)
    shortest = {kind: min(turns[1:]) for kind, turns in seconds.items()}
    return shortest[torch.bfloat16] / shortest[torch.float32]
