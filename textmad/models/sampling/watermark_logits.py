"""Sampling with a watermark: how it changes the scores of the next token.

It is applied after all sampling options, as in transformers' `generate`. It keeps no state and
reads the tokens so far. So a document's text depends on its own random stream alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from textmad.recipe import WatermarkSettings
from textmad.recipe.watermark_schemes import Tournament, begins, context_hashes, green_lists


class Written(NamedTuple):
    """The documents in the slots, before each gets its next token."""

    ids: torch.Tensor  # (slots, time) start token, prompt, text, and whatever follows
    start: torch.Tensor  # (slots,) where the text begins
    stop: torch.Tensor  # (slots,) where the next token will stand
    marked: torch.Tensor  # (slots,) bool: whether the watermark applies to that token


Watermark = Callable[[torch.Tensor, Written], torch.Tensor]
"""From scores (slots, vocabulary) float32, which it may overwrite, to scores."""


def watermark(settings: WatermarkSettings, vocabulary: int, device: torch.device) -> Watermark:
    """Return the watermark of a recipe."""
    if settings.kind == "green_list":
        return _GreenList(settings, vocabulary, device)
    return _SynthID(settings, vocabulary, device)


class _GreenList:
    """Adds `bias` to the tokens that are green after the last token, also one of the prompt."""

    def __init__(self, settings: WatermarkSettings, vocabulary: int, device: torch.device) -> None:
        self._lists = green_lists(settings.key, settings.green_share, vocabulary)
        bits = torch.arange(256).unsqueeze(1) >> torch.arange(8) & 1
        self._bias_of_bits = (bits * settings.bias).float().to(device)
        # The lists are computed on the host, which a captured step cannot ask. So all are there.
        self._bits = None if device.type == "cpu" else self._after(torch.arange(vocabulary), device)

    def _after(self, before: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Return the green tokens after each token, as bits: (tokens, vocabulary / 8) uint8."""
        return torch.from_numpy(self._lists.after(before.numpy())).to(device)

    def __call__(self, scores: torch.Tensor, written: Written) -> torch.Tensor:
        before = written.ids.gather(1, written.stop.unsqueeze(1) - 1).squeeze(1)
        bits = self._after(before, scores.device) if self._bits is None else self._bits[before]
        bias = torch.nn.functional.embedding(bits.int(), self._bias_of_bits).flatten(1)
        marked = written.marked.unsqueeze(1).float()
        return scores.addcmul_(bias[:, : scores.shape[1]], marked)


class _SynthID:
    """Tournament sampling in closed form, layer by layer, as transformers computes it.

    A layer with g-values g turns probabilities p into p (1 + g - sum(g p)); the mean of that over
    all keys is p. The g-values depend on the context, the last tokens of the text. A token is not
    marked where its context was there before: the same choice again would be noticeable. Nor are
    the first tokens, which have too short a context (transformers' `skip_first_ngram_calls`):
    documents without a prompt would all begin alike. Detectors, ours and transformers', leave these
    tokens out.
    """

    def __init__(self, settings: WatermarkSettings, vocabulary: int, device: torch.device) -> None:
        self._tournament = Tournament(settings.key, settings.depth, settings.context)
        around = np.resize(self._tournament.table, len(self._tournament.table) + vocabulary - 1)
        table = torch.from_numpy(around).float().to(device)
        self._g_values = table.unfold(0, vocabulary, 1)  # (2**16, vocabulary): a view, no copy

    def __call__(self, scores: torch.Tensor, written: Written) -> torch.Tensor:
        far_enough = written.stop - written.start >= self._tournament.context
        written = written._replace(marked=written.marked & far_enough)
        if scores.device.type != "cpu":  # a captured step takes all slots
            return self._marked(scores, written)
        slots = written.marked.nonzero().squeeze(1)
        few = Written(*(part[slots] for part in written))
        return scores.index_copy_(0, slots, self._marked(scores[slots], few))

    def _marked(self, scores: torch.Tensor, written: Written) -> torch.Tensor:
        hashes, is_first = self._contexts(written)
        probability = scores.softmax(-1)
        for shift in self._tournament.shifts.tolist():
            won = self._g_values.index_select(0, begins(hashes, shift)).mul_(probability)
            # Never negative, as rounding could make it where a token has all the probability.
            rest = (1 - won.sum(-1, keepdim=True)).clamp_(min=0)
            probability = torch.addcmul(won, probability, rest, out=probability)
        marked = written.marked & is_first
        return torch.where(marked.unsqueeze(1), probability.log_(), scores)

    def _contexts(self, written: Written) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the hash of each slot's context, and whether the context is new: both (slots,)."""
        width, stop = self._tournament.context, written.stop.unsqueeze(1)
        before = torch.nn.functional.pad(written.ids, (width, 0)).unfold(1, width, 1)[
            :, :-1
        ]  # (slots, time, width)
        hashes = context_hashes(before)  # (slots, time)
        context = hashes.gather(1, stop)
        time = torch.arange(hashes.shape[1], device=hashes.device)
        is_context = (time >= written.start.unsqueeze(1) + width) & (time < stop)
        return context.squeeze(1), ~(is_context & (hashes == context)).any(1)
