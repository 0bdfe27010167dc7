"""What the machine could do at most: its matrix-multiply rate, its memory bandwidth, and the work.

A side's share of the limit is `max(FLOPs / rate, bytes / bandwidth)` over the time it took. Counted
is only what the model cannot do without: multiplications by its weights, attention over the
positions that are really there, one reading of the weights a step and of the cache a token. Not
counted: norms, activations, the softmax, the draw, the optimizer, padding. So 100 % cannot be
reached. No torch is loaded until it is needed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.sides import Done

if TYPE_CHECKING:
    import torch

_SIZES = (512, 1024, 2048)  # square matrices; the fastest counts
_CUDA_SIZES = (4096, 8192)


class Model(NamedTuple):
    """What the work of a model depends on."""

    parameters: int  # in matrix products: the embedding is looked up, the output layer multiplied
    width: int  # heads x head size, all layers together: what attention multiplies a position by
    cache_width: int  # keys and values held a position, all layers together, in numbers
    bytes_a_number: int


def machine() -> Callable[[int], Done]:
    """A side whose turn measures the machine: FLOP/s and bytes/s."""
    import torch

    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def turn(number: int) -> Done:
        found = {"flops": _matmul_rate(place), "bandwidth": _bandwidth(place)}
        return Done(1, lambda: found)

    return turn


def describe(base: str, dtype: str) -> Model:
    """The sizes of a model that decide its work."""
    from benchmarks import plain_generation
    from benchmarks.workload import base_folder

    network, _ = plain_generation.open_model(base_folder(base), dtype)
    config = network.config
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    cached = getattr(config, "num_key_value_heads", None) or heads
    layers = config.num_hidden_layers
    linear = {"Linear", "Conv1D"}
    weights = [m.weight for m in network.modules() if type(m).__name__ in linear]
    return Model(
        parameters=sum(weight.numel() for weight in weights),
        width=layers * heads * size,
        cache_width=2 * layers * cached * size,
        bytes_a_number=weights[0].element_size(),
    )


class Documents(NamedTuple):
    """What the work depends on of the documents, whose start token is counted as a position."""

    tokens: float  # of all together
    mean_length: float
    mean_square: float  # of the lengths

    @property
    def seen(self) -> float:
        """Positions that attention looks at, summed over all positions: each sees itself."""
        num_documents = self.tokens / self.mean_length
        return num_documents * (self.mean_square + self.mean_length) / 2


def forward_flops(model: Model, documents: Documents) -> float:
    """Of one pass over the documents."""
    return 2 * model.parameters * documents.tokens + 4 * model.width * documents.seen


def sampling_seconds(
    model: Model, documents: Documents, rows: int, flops: float, bandwidth: float
) -> float:
    """The least time to draw the documents, `rows` side by side."""
    steps = documents.tokens / rows
    numbers = steps * model.parameters + documents.seen * model.cache_width
    moving = numbers * model.bytes_a_number / bandwidth
    return max(forward_flops(model, documents) / flops, moving)


def scoring_seconds(model: Model, documents: Documents, flops: float) -> float:
    """The least time to score the documents."""
    return forward_flops(model, documents) / flops


def training_seconds(model: Model, documents: Documents, flops: float) -> float:
    """The least time for one pass of LoRA training.

    Forward, and backward the gradients of the activations: the base model's weights need none. The
    adapter's own products are some per cent of that and not counted.
    """
    return 2 * forward_flops(model, documents) / flops


def _matmul_rate(place: torch.device) -> float:
    import torch

    cuda = place.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    rates = []
    for size in _CUDA_SIZES if cuda else _SIZES:
        one, other = (torch.randn(size, size, device=place, dtype=dtype) for _ in range(2))
        out = torch.empty_like(one)
        seconds = _median_seconds(lambda a=one, b=other, c=out: torch.mm(a, b, out=c), place)
        rates.append(2 * size**3 / seconds)
    return max(rates)


def _bandwidth(place: torch.device) -> float:
    """The triad a = b + s c on arrays that fit no cache: two readings and a writing."""
    import torch

    size = 2**28 if place.type == "cuda" else 2**25  # float32: 1 GiB, 128 MiB each
    b, c = (torch.ones(size, device=place) for _ in range(2))
    a = torch.empty_like(b)
    seconds = _median_seconds(lambda: torch.add(b, c, alpha=0.5, out=a), place)
    return 3 * size * a.element_size() / seconds


def _median_seconds(work: Callable[[], object], place: torch.device, repeats: int = 5) -> float:
    import torch

    seconds = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])
