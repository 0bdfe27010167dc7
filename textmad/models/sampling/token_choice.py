"""From logits to a token: the sampling options in a fixed order, then an exact draw.

The order is: float32 logits, repetition penalty, temperature, top-k, top-p, min-p. Each option
means what it means in transformers; one that is off changes nothing.
"""

from __future__ import annotations

import numpy as np
import torch

from textmad.recipe import SampleSettings

BLOCK = 64  # tokens. Searching blocks, then one block, is fastest near sqrt(vocabulary)


def truncate(
    logits: torch.Tensor, settings: SampleSettings, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Apply the sampling options to logits (rows, vocabulary); excluded tokens become -inf.

    `seen` (rows, vocabulary) bool marks the tokens of the document so far, start token and prompt
    included. The repetition penalty makes them less likely (Keskar et al., 1909.05858, 4.1).
    """
    logits = logits.float()
    if settings.repetition_penalty != 1.0:
        assert seen is not None
        penalty = settings.repetition_penalty
        penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
        logits = torch.where(seen, penalised, logits)
    if settings.temperature != 1.0:
        logits = logits / settings.temperature
    if settings.top_k:
        weakest = logits.topk(min(settings.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < weakest, -torch.inf)
    if settings.top_p < 1.0:
        logits = _nucleus(logits, settings.top_p)
    if settings.min_p > 0.0:
        probability = logits.softmax(-1)
        floor = settings.min_p * probability.amax(-1, keepdim=True)
        logits = logits.masked_fill(probability < floor, -torch.inf)
    return logits


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the likeliest tokens that together reach `top_p` (Holtzman et al., 1904.09751).

    Tokens as likely as the least likely of them stay too; in transformers the order of the
    vocabulary decides between such tokens.
    """
    ascending = _ascending(logits)
    up_to = ascending.softmax(-1).cumsum_(-1)  # probability of all tokens up to this one
    removed = torch.searchsorted(up_to, up_to.new_full((len(up_to), 1), 1 - top_p), right=True)
    weakest = ascending.gather(-1, removed.clamp_(max=logits.shape[-1] - 1))
    return logits.masked_fill(logits < weakest, -torch.inf)


def _ascending(logits: torch.Tensor) -> torch.Tensor:
    """Sort each row. On CPU numpy does, which sorts without indices in a tenth of the time."""
    if logits.device.type == "cpu":
        return torch.from_numpy(np.sort(logits.numpy(), axis=-1))
    return logits.sort(-1).values


def pick(
    logits: torch.Tensor, uniform: torch.Tensor, scratch: torch.Tensor | None = None
) -> torch.Tensor:
    """Draw one token for each row by inverting its cumulative distribution, and return (rows,).

    Sums run in float64: in float32 every probability below about 6e-8 is lost behind a
    cumulative sum near 1, and `torch.multinomial` has the same floor. The weights themselves,
    exp(logit - largest), are float32: a token d below the largest logit gets its probability up to
    a relative error of (d + 2) * 6e-8, which is less than the logits' own rounding; only at
    d > 87 does it vanish, where a uniform of 53 bits could not reach it either. The search goes by
    blocks of tokens, then within one. The uniform is scaled by the row's own sum, so no rounding
    can point past the end, and a token of probability zero is never drawn.

    Args:
        logits: (rows, vocabulary) float32; overwritten.
        uniform: (rows,) in [0, 1).
        scratch: (rows, vocabulary padded to whole blocks) float64, 0 in the padding; overwritten.

    >>> pick(torch.tensor([[0.0, 0.0, -torch.inf]]), torch.tensor([0.6])).tolist()
    [1]
    """
    rows, vocabulary = logits.shape
    if scratch is None:
        scratch = logits.new_zeros(rows, -(-vocabulary // BLOCK) * BLOCK, dtype=torch.float64)
    # 1. Weights, proportional to the probabilities.
    weights = logits.sub_(logits.amax(-1, keepdim=True)).exp_()
    scratch[:, :vocabulary].copy_(weights)  # a sum with another dtype would convert more slowly
    # 2. The block that holds the token, (rows, 1).
    blocks = scratch.view(rows, -1, BLOCK)
    up_to = blocks.sum(-1).cumsum_(-1)  # (rows, blocks)
    goal = uniform.double().unsqueeze(-1) * up_to[:, -1:]
    # It is past the end only where scores are not finite, which the caller checks.
    block = torch.searchsorted(up_to, goal, right=True).clamp_(max=up_to.shape[-1] - 1)
    before = torch.where(block > 0, up_to.gather(1, (block - 1).clamp_(min=0)), 0.0)
    # 3. The token within the block.
    index = block.unsqueeze(-1).expand(-1, -1, BLOCK)
    within = blocks.gather(1, index).squeeze(1).cumsum_(-1)  # (rows, BLOCK)
    # The block's sum and its cumulative sum may differ in the last bit.
    rest = torch.minimum(goal - before, within[:, -1:].nextafter(within.new_zeros(())))
    token = block * BLOCK + torch.searchsorted(within, rest, right=True)
    return token.clamp_(max=vocabulary - 1).squeeze(-1)
