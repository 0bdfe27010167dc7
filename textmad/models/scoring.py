"""Nats per token: batched by length, cut into windows where a text is longer than the context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from textmad.models import TokenScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MAX_LOGITS = 2**25  # of one forward pass: 128 MiB in float32


class Row(NamedTuple):
    """One sequence to be read, and which of its tokens are scored."""

    ids: np.ndarray  # (time + 1,) start token, prompt, text, end token
    first: int  # ids[first:] are scored; what is before them is context


class Window(NamedTuple):
    """A stretch of a row that fits the context."""

    ids: np.ndarray  # (time + 1,)
    first: int  # ids[first:] are scored here
    row: int
    offset: int  # of ids[first] among the row's scored tokens


def windows(row: Row, context: int, number: int = 0) -> Iterator[Window]:
    """Cut a row into windows of `context` inputs, so that every token is scored exactly once.

    A row that fits is one window. A longer one goes on in windows whose first half repeats what
    came before, unscored: each later token still sees at least half a context of its own text.

    >>> row = Row(ids=np.arange(10), first=1)
    >>> [window.ids[window.first :].tolist() for window in windows(row, context=4)]
    [[1, 2, 3, 4], [5, 6], [7, 8], [9]]
    """
    scored = row.first
    while scored < len(row.ids):
        end = min(max(scored + context - context // 2, context + 1), len(row.ids))
        begin = max(0, end - context - 1)
        yield Window(row.ids[begin:end], scored - begin, number, scored - row.first)
        scored = end


@torch.inference_mode()
def score(network: PreTrainedModel, rows: Sequence[Row], context: int) -> TokenScores:
    """Nats and hits of the scored tokens of each row; the batches change nothing but the speed."""
    nll = [np.empty(len(row.ids) - row.first) for row in rows]
    correct = [np.empty(len(row.ids) - row.first, dtype=bool) for row in rows]
    pieces = [w for number, row in enumerate(rows) for w in windows(row, context, number)]
    for batch in _batches(pieces, network.config.vocab_size):
        for window, (nats, hits) in zip(batch, _score_batch(network, batch), strict=True):
            span = slice(window.offset, window.offset + len(nats))
            nll[window.row][span], correct[window.row][span] = nats, hits
    return TokenScores(nll, correct)


def _batches(pieces: list[Window], vocabulary: int) -> Iterator[list[Window]]:
    """Windows of similar length together, as many as keep the logits within bounds."""
    batch: list[Window] = []
    for window in sorted(pieces, key=lambda window: -len(window.ids)):
        longest = len(batch[0].ids) if batch else len(window.ids)
        full = (len(batch) + 1) * longest * vocabulary > _MAX_LOGITS
        if batch and (full or len(window.ids) < 0.9 * longest):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _score_batch(
    network: PreTrainedModel, batch: list[Window]
) -> list[tuple[np.ndarray, np.ndarray]]:
    time = max(len(window.ids) for window in batch) - 1
    inputs = np.full((len(batch), time), batch[0].ids[0], np.int64)
    targets = np.full((len(batch), time), -100, np.int64)
    for row, window in enumerate(batch):
        inputs[row, : len(window.ids) - 1] = window.ids[:-1]
        targets[row, window.first - 1 : len(window.ids) - 1] = window.ids[window.first :]
    kept = time - (min(window.first for window in batch) - 1)  # no logits for common context
    wanted = torch.from_numpy(targets[:, time - kept :]).to(network.device)
    # Padding on the right needs no mask: under a causal mask nothing scored ever sees it.
    logits = network(
        input_ids=torch.from_numpy(inputs).to(network.device),
        use_cache=False,
        logits_to_keep=kept,
    ).logits.float()
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="none"
    ).view_as(wanted)
    scored = (wanted != -100).cpu().numpy()
    values = nats.double().cpu().numpy()
    hits = (logits.argmax(-1) == wanted).cpu().numpy()
    return [(values[row][mask], hits[row][mask]) for row, mask in enumerate(scored)]
