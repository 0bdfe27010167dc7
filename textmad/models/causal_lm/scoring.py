"""Nats per token: batched by length, cut into windows where a text is longer than the context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from textmad.models.causal_lm.token_loss import rows_at_a_time
from textmad.models.protocol import TokenMoments, TokenScores

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
    """Score each row's tokens; return nats and hits, `(scored tokens,)` each.

    How rows are batched changes the speed alone.
    """

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
    """Apply `numbers_of` to all rows; return `(numbers, tokens)` float64 for each row.

    Args:
        numbers_of: computes `(numbers, windows, scored time)` for a batch.
        rows: the sequences.
        context: of the networks.
        networks: those that `numbers_of` runs on a batch; their logits share the memory.
    """
    vocabulary = sum(network.config.vocab_size for network in networks)
    by_offset: list[dict[int, np.ndarray]] = [{} for _ in rows]  # where a window's tokens begin
    for side_by_side, batch in batches(rows, context, vocabulary, networks[0].device):
        values = numbers_of(batch).cpu().numpy()
        scored = (batch.wanted != -100).cpu().numpy()
        for index, window in enumerate(side_by_side):
            by_offset[window.row][window.offset] = values[:, index, scored[index]]
    return [np.concatenate([parts[at] for at in sorted(parts)], axis=1) for parts in by_offset]


def batches(
    rows: Sequence[Row], context: int, vocabulary: int, device: torch.device
) -> Iterator[tuple[list[Window], Batch]]:
    """Yield all windows of the rows in batches of similar length, each with its tensors.

    A batch is as large as keeps the logits of `vocabulary` tokens within bounds.
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
    """Run the network; return logits `(windows, scored time, vocabulary)` in float32."""
    # Padding on the right needs no mask: under a causal mask nothing scored ever sees it.
    output = network(input_ids=batch.inputs, use_cache=False, logits_to_keep=batch.wanted.shape[1])
    logits: torch.Tensor = output.logits.float()
    return logits


# --- exact expectations of each token -------------------------------------------------------


@torch.inference_mode()
def token_moments(network: PreTrainedModel, rows: Sequence[Row], context: int) -> TokenMoments:
    """Return the nats of each scored token, and mean and variance of nats over the vocabulary."""

    def statistics(batch: Batch) -> torch.Tensor:
        return _in_parts(_token_statistics, batch, read(network, batch))

    by_row = of_each_token(statistics, rows, context, network)
    return TokenMoments(*([statistic[i] for statistic in by_row] for i in range(3)))


@torch.inference_mode()
def cross_entropy(
    network: PreTrainedModel, observer: PreTrainedModel, rows: Sequence[Row], context: int
) -> list[np.ndarray]:
    """Return the mean nats under `network` of `observer`'s predictions, `(tokens,)` a row."""

    def expected(batch: Batch) -> torch.Tensor:
        return _in_parts(_cross_entropy, batch, read(network, batch), read(observer, batch))

    by_row = of_each_token(expected, rows, context, network, observer)
    return [nats for (nats,) in by_row]


def _token_statistics(targets: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return nats of the targets, and mean and variance over the vocabulary, `(3, tokens)`."""
    nats = -logits.log_softmax(-1, dtype=torch.float64)
    shares = (-nats).exp()
    mean = (shares * nats).sum(-1, keepdim=True)
    variance = (shares * (nats - mean).square()).sum(-1)
    # What is not scored has target -100; its numbers are left out later.
    own = nats.gather(-1, targets.clamp(min=0)[:, None])
    return torch.stack([own[:, 0], mean[:, 0], variance])


def _cross_entropy(
    targets: torch.Tensor, logits: torch.Tensor, observed: torch.Tensor
) -> torch.Tensor:
    """Return the mean of -log p under the observer's probabilities, `(1, tokens)`."""
    shares = observed.softmax(-1, dtype=torch.float64)
    return -(shares * logits.log_softmax(-1, dtype=torch.float64)).sum(-1)[None]


def _in_parts(
    numbers_of: Callable[..., torch.Tensor], batch: Batch, *logits: torch.Tensor
) -> torch.Tensor:
    """Apply `numbers_of(targets, *logits)` to a batch; return `(numbers, windows, scored time)`.

    It works on a few tokens at a time, so that no float64 copy of all logits exists.
    """
    flat = [part.flatten(0, 1) for part in logits]
    rows = rows_at_a_time(flat[0])
    pieces = zip(*(torch.split(x, rows) for x in (batch.wanted.flatten(), *flat)), strict=True)
    numbers = torch.cat([numbers_of(*piece) for piece in pieces], dim=1)
    return numbers.view(-1, *batch.wanted.shape)


# --- embeddings -----------------------------------------------------------------------------


@torch.inference_mode()
def mean_states(network: PreTrainedModel, rows: Sequence[Row], context: int) -> list[np.ndarray]:
    """Return the mean last hidden state over each row's tokens, `(hidden size,)` float64.

    The state of the start token is left out: it is the same in all texts, and networks use it as
    an attention sink. Only an empty text has no other.
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
