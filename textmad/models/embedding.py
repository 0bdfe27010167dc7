"""Where texts lie in a network's space: the mean of its last hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from textmad.models.scoring import Row, batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def mean_states(network: PreTrainedModel, rows: Sequence[Row], context: int) -> list[np.ndarray]:
    """The mean last hidden state at each row's tokens, `(hidden size,)` in float64.

    The states of the start token are left out: it is the same in all texts, and networks park
    there what attends to nothing. Only an empty text has no other.
    """
    # What follows a token is scored, so a token's own state is that of the next one's target.
    texts = [row._replace(first=min(row.first + 1, len(row.ids) - 1)) for row in rows]
    sums = [np.zeros(1) for _ in rows]
    vocabulary = network.config.vocab_size  # as many at once as when texts are scored
    for side_by_side, batch in batches(texts, context, vocabulary, network.device):
        output = network.base_model(input_ids=batch.inputs, use_cache=False)
        states = output.last_hidden_state[:, -batch.wanted.shape[1] :].float()
        of_text = (batch.wanted != -100)[..., None]
        totals = (states * of_text).sum(1, dtype=torch.float64).cpu().numpy()
        for window, total in zip(side_by_side, totals, strict=True):
            sums[window.row] = sums[window.row] + total
    return [total / (len(row.ids) - row.first) for total, row in zip(sums, texts, strict=True)]
