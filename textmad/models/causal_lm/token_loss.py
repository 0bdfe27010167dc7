"""The sum of token losses, and its gradient in the memory of the logits.

The logits are by far the largest tensor of a step (tokens x vocabulary), and the usual
cross-entropy holds three of that size at its peak. Here the gradient, softmax minus one at the
target, is written over the logits while they are in the cache, a few rows at a time (as the
Liger kernels do, Hsu et al., 2410.10989, section 3.2; theirs is for GPUs only and includes the
output layer).
"""

from __future__ import annotations

from typing import Any

import torch

# Logits at a time: what a core's cache holds, or what keeps a GPU busy.
_CPU_LOGITS, _GPU_LOGITS = 2**18, 2**26


def rows_at_a_time(logits: torch.Tensor) -> int:
    """How many rows of `logits` (targets, vocabulary) are best worked on together."""
    many = _CPU_LOGITS if logits.device.type == "cpu" else _GPU_LOGITS
    return max(1, many // logits.shape[-1])


class _SummedNats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64, device=logits.device)
        rows = rows_at_a_time(logits)
        begin = 0
        for part, targets in zip(
            torch.split(logits.detach(), rows), torch.split(labels, rows), strict=True
        ):
            log_shares = part.log_softmax(-1, dtype=torch.float32)
            chosen = targets[:, None]
            nats = log_shares.gather(-1, chosen)
            if weights is not None:
                weight = weights[begin : begin + len(targets), None]
                nats = nats * weight
            total -= nats.sum(dtype=torch.float64)
            if ctx.needs_input_grad[0]:
                shares = log_shares.exp_()
                shares.scatter_add_(-1, chosen, shares.new_full((1, 1), -1.0).expand_as(chosen))
                if weights is not None:
                    shares.mul_(weight)
                part.copy_(shares)
            begin += len(targets)
        ctx.save_for_backward(logits)
        return total

    @staticmethod
    def backward(ctx: Any, *above: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(above[0].to(gradient.dtype)), None, None


def summed_nats(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The sum of -log softmax(logits)[label], float64; `logits` is used up where it has a gradient.

    Shapes: logits (targets, vocabulary), labels (targets,), weights of the targets (targets,),
    None for 1 each. `backward` may be called once.

    >>> float(summed_nats(torch.zeros(3, 4), torch.tensor([0, 1, 3])).exp())  # 4 * 4 * 4
    64.0...
    """
    total: torch.Tensor = _SummedNats.apply(logits, labels, weights)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def token_nats(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return -log softmax(logits)[label] of each target, float64 (targets,); `logits` stays.

    >>> token_nats(torch.zeros(3, 4), torch.tensor([0, 1, 3])).exp().tolist()
    [4.0..., 4.0..., 4.0...]
    """
    parts = [
        -part.log_softmax(-1, dtype=torch.float32).gather(-1, targets[:, None])[:, 0].double()
        for part, targets in zip(
            torch.split(logits, rows_at_a_time(logits)),
            torch.split(labels, rows_at_a_time(logits)),
            strict=True,
        )
    ]
    return torch.cat(parts)
