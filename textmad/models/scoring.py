"""Nats per token: batched by length, cut into windows where a text is longer than the context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


class Batch(NamedTuple):
    """Windows side by side."""

    inputs: torch.Tensor  # (windows, time) token ids
    wanted: torch.Tensor  # (windows, scored time) what follows each; -100: not scored


@torch.inference_mode()
def score(network: PreTrainedModel, rows: Sequence[Row], context: int) -> TokenScores:
    """Nats and hits of the scored tokens of each row; the batches change nothing but the speed."""

    def nats_and_hits(batch: Batch) -> torch.Tensor:
        logits = read(network, batch)
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.wanted.flatten(), ignore_index=-100, reduction="none"
        ).view_as(batch.wanted)
        return torch.stack([nats.double(), (logits.argmax(-1) == batch.wanted).double()])

    numbers = of_each_token(nats_and_hits, rows, context, network)
    return TokenScores(
        nll=[nats for nats, _ in numbers], correct=[hits.astype(bool) for _, hits in numbers]
    )


def of_each_token(
    numbers_of: Callable[[Batch], torch.Tensor],
    rows: Sequence[Row],
    context: int,
    *networks: PreTrainedModel,
) -> list[np.ndarray]:
    """What `numbers_of` says of the scored tokens of each row, `(numbers, tokens)` in float64.

    Args:
        numbers_of: gives `(numbers, windows, scored time)` for a batch.
        rows: the sequences.
        context: of the networks.
        networks: that `numbers_of` has read a batch; their logits share the memory.
    """
    vocabulary = sum(network.config.vocab_size for network in networks)
    found: list[dict[int, np.ndarray]] = [{} for _ in rows]  # by where a window's tokens begin
    for side_by_side, batch in batches(rows, context, vocabulary, networks[0].device):
        values = numbers_of(batch).cpu().numpy()
        scored = (batch.wanted != -100).cpu().numpy()
        for place, window in enumerate(side_by_side):
            found[window.row][window.offset] = values[:, place, scored[place]]
    return [np.concatenate([parts[at] for at in sorted(parts)], axis=1) for parts in found]


def batches(
    rows: Sequence[Row], context: int, vocabulary: int, device: torch.device
) -> Iterator[tuple[list[Window], Batch]]:
    """All windows of the rows, those of similar length together.

    As many at once as keep the logits of `vocabulary` tokens within bounds.
    """
    pieces = [w for number, row in enumerate(rows) for w in windows(row, context, number)]
    for side_by_side in _alike(pieces, vocabulary):
        yield side_by_side, _batch(side_by_side, device)


def _alike(pieces: list[Window], vocabulary: int) -> Iterator[list[Window]]:
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


def _batch(side_by_side: list[Window], device: torch.device) -> Batch:
    time = max(len(window.ids) for window in side_by_side) - 1
    inputs = np.full((len(side_by_side), time), side_by_side[0].ids[0], np.int64)
    targets = np.full((len(side_by_side), time), -100, np.int64)
    for row, window in enumerate(side_by_side):
        inputs[row, : len(window.ids) - 1] = window.ids[:-1]
        targets[row, window.first - 1 : len(window.ids) - 1] = window.ids[window.first :]
    common = min(window.first for window in side_by_side) - 1  # needs no logits
    wanted = torch.from_numpy(targets[:, common:])
    return Batch(torch.from_numpy(inputs).to(device), wanted.to(device))


def read(network: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """The network's logits, `(windows, scored time, vocabulary)` in float32."""
    # Padding on the right needs no mask: under a causal mask nothing scored ever sees it.
    output = network(input_ids=batch.inputs, use_cache=False, logits_to_keep=batch.wanted.shape[1])
    logits: torch.Tensor = output.logits.float()
    return logits
