"""From logits to a token: the sampling options in a fixed order, then one exact draw.

The order is float32 logits, repetition penalty, temperature, top-k, top-p, min-p; each option is
what transformers means by its name, and one that is off changes nothing.
"""

from __future__ import annotations

import numpy as np
import torch

from textmad.recipe import SampleSettings

BLOCK = 64  # tokens; about the square root of a vocabulary


def truncate(
    logits: torch.Tensor, settings: SampleSettings, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Logits (rows, vocabulary) under `settings`; tokens that are out become -inf.

    `seen` (rows, vocabulary) bool marks the tokens of the document so far, start token and prompt
    included: the repetition penalty (Keskar et al., 1909.05858, section 4.1) makes them unlikelier.
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

    And those as likely as the least of them: where transformers' order decides between equals, all
    of them stay.
    """
    ascending = _ascending(logits)
    until = ascending.softmax(-1).cumsum_(-1)
    removed = torch.searchsorted(until, until.new_full((len(until), 1), 1 - top_p), right=True)
    weakest = ascending.gather(-1, removed.clamp_(max=logits.shape[-1] - 1))
    return logits.masked_fill(logits < weakest, -torch.inf)


def _ascending(logits: torch.Tensor) -> torch.Tensor:
    """Each row sorted; by numpy on CPU, which sorts without the indices in a tenth of the time."""
    if logits.device.type == "cpu":
        return torch.from_numpy(np.sort(logits.numpy(), axis=-1))
    return logits.sort(-1).values


def pick(
    logits: torch.Tensor, uniform: torch.Tensor, scratch: torch.Tensor | None = None
) -> torch.Tensor:
    """One token a row by inverting the cumulative distribution; `uniform` (rows,) is in [0, 1).

    Sums run in float64: in float32 every probability below about 6e-8 is lost behind a
    cumulative sum near 1, and `torch.multinomial` has the same floor. The weights themselves,
    exp(logit - largest), are float32: a token d below the largest logit gets its probability up to
    a relative error of (d + 2) * 6e-8, which is less than the logits' own rounding; only at
    d > 87 does it vanish, where a uniform of 53 bits could not reach it either. The search goes by
    blocks of tokens, then within one. The uniform is scaled by the row's own sum, so no rounding
    can point past the end, and a token of probability zero is never drawn.

    `logits` (rows, vocabulary) is overwritten, as is `scratch` (rows, vocabulary padded to whole
    blocks) float64, zero where it pads.

    >>> pick(torch.tensor([[0.0, 0.0, -torch.inf]]), torch.tensor([0.6])).tolist()
    [1]
    """
    rows, vocabulary = logits.shape
    if scratch is None:
        scratch = logits.new_zeros(rows, -(-vocabulary // BLOCK) * BLOCK, dtype=torch.float64)
    weights = logits.sub_(logits.amax(-1, keepdim=True)).exp_()
    scratch[:, :vocabulary].copy_(weights)  # a sum with another dtype would convert more slowly
    blocks = scratch.view(rows, -1, BLOCK)
    until = blocks.sum(-1).cumsum_(-1)
    goal = uniform.double().unsqueeze(-1) * until[:, -1:]
    # Past the end only where scores are not numbers, which whoever calls this has to check.
    block = torch.searchsorted(until, goal, right=True).clamp_(max=until.shape[-1] - 1)
    before = torch.where(block > 0, until.gather(1, (block - 1).clamp_(min=0)), 0.0)
    at = block.unsqueeze(-1).expand(-1, -1, BLOCK)
    within = blocks.gather(1, at).squeeze(1).cumsum_(-1)
    # The block's sum and its cumulative sum may differ in the last bit.
    rest = torch.minimum(goal - before, within[:, -1:].nextafter(within.new_zeros(())))
    token = block * BLOCK + torch.searchsorted(within, rest, right=True)
    return token.clamp_(max=vocabulary - 1).squeeze(-1)
