"""From logits to a token: the sampling options in a fixed order, then one exact draw.

The order is float32 logits, repetition penalty, temperature, top-k, top-p, min-p; each option is
what transformers means by its name, and one that is off changes nothing.
"""

from __future__ import annotations

import torch

from textmad.recipe import SampleSettings


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
    """Keep the likeliest tokens that together reach `top_p` (Holtzman et al., 1904.09751)."""
    ascending, order = logits.sort(-1)
    removed = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
    removed[:, -1] = False
    return logits.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def pick(
    logits: torch.Tensor, uniform: torch.Tensor, scratch: torch.Tensor | None = None
) -> torch.Tensor:
    """One token a row by inverting the cumulative distribution; `uniform` (rows,) is in [0, 1).

    The sum runs in float64: in float32 every probability below about 6e-8 is lost behind a
    cumulative sum near 1, and `torch.multinomial` has the same floor. The uniform is scaled by
    the row's own last sum, so no rounding can point past the end, and a token of
    probability zero is never drawn. `scratch` (rows, vocabulary) float64 is overwritten: fresh
    memory for it at every step would cost more than the sum.

    >>> pick(torch.tensor([[0.0, 0.0, -torch.inf]]), torch.tensor([0.6])).tolist()
    [1]
    """
    if scratch is None:
        scratch = torch.empty_like(logits, dtype=torch.float64)
    torch.sub(logits, logits.amax(-1, keepdim=True), out=scratch)
    cumulative = scratch.exp_().cumsum_(-1)
    goal = uniform.double().unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, goal, right=True).squeeze(-1)
