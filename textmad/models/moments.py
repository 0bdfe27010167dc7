"""What a model expects of each token before it sees it, exactly, from its whole distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from textmad.models import TokenMoments
from textmad.models.scoring import Batch, Row, of_each_token, read
from textmad.models.token_loss import rows_at_a_time

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def token_moments(network: PreTrainedModel, rows: Sequence[Row], context: int) -> TokenMoments:
    """Nats of each scored token, and their mean and variance over all that it might have been."""

    def moments(batch: Batch) -> torch.Tensor:
        return _a_few_at_a_time(_moments, batch, read(network, batch))

    numbers = of_each_token(moments, rows, context, network)
    return TokenMoments(*([found[i] for found in numbers] for i in range(3)))


@torch.inference_mode()
def cross_entropy(
    network: PreTrainedModel, observer: PreTrainedModel, rows: Sequence[Row], context: int
) -> list[np.ndarray]:
    """Nats that `network` gives, on average, to what `observer` would draw at each token."""

    def expected(batch: Batch) -> torch.Tensor:
        return _a_few_at_a_time(_cross, batch, read(network, batch), read(observer, batch))

    numbers = of_each_token(expected, rows, context, network, observer)
    return [nats for (nats,) in numbers]


def _moments(targets: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    nats = -logits.log_softmax(-1, dtype=torch.float64)
    shares = (-nats).exp()
    mean = (shares * nats).sum(-1, keepdim=True)
    variance = (shares * (nats - mean).square()).sum(-1)
    # What is not scored has target -100; its numbers are left out later.
    own = nats.gather(-1, targets.clamp(min=0)[:, None])
    return torch.stack([own[:, 0], mean[:, 0], variance])


def _cross(targets: torch.Tensor, logits: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    shares = observed.softmax(-1, dtype=torch.float64)
    return -(shares * logits.log_softmax(-1, dtype=torch.float64)).sum(-1)[None]


def _a_few_at_a_time(
    numbers_of: Callable[..., torch.Tensor], batch: Batch, *logits: torch.Tensor
) -> torch.Tensor:
    """`numbers_of(targets, *logits)` over a batch, `(numbers, windows, scored time)`.

    float64 copies of the logits never exist as a whole.
    """
    flat = [part.flatten(0, 1) for part in logits]
    rows = rows_at_a_time(flat[0])
    pieces = zip(*(torch.split(x, rows) for x in (batch.wanted.flatten(), *flat)), strict=True)
    numbers = torch.cat([numbers_of(*piece) for piece in pieces], dim=1)
    return numbers.view(-1, *batch.wanted.shape)
