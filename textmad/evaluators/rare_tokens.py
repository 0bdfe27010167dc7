"""Tokens that are rare in human text: collapse begins with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from textmad.evaluators.held_out import NUM_TOKENS, HeldOutSize, held_out_scores, precision_of
from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.evaluators.references import Rows, measure_compared
from textmad.text.documents import digest_of_ids
from textmad.text.rarity import BINS, frequency_bins

if TYPE_CHECKING:
    from textmad.models.protocol import LanguageModel

_AT_ONCE = 4096  # texts turned into tokens at once

END = "end"  # the end tokens, which are no text: a bin of their own for the loss, else left out
TEXT_METRICS = ("rare_rate", "surviving_rare_types", "unseen_mass")


def text_tokens(tokens: Sequence[np.ndarray]) -> np.ndarray:
    """Return all tokens of the documents in order, without the end tokens."""
    return np.concatenate([np.empty(0, np.int32), *(ids[:-1] for ids in tokens)])


def loss_by_bin(
    nll: Sequence[np.ndarray], tokens: Sequence[np.ndarray], human_counts: np.ndarray
) -> list[Measurement]:
    """Measure the loss by frequency bin, on rare and on common tokens, and the gap of these two.

    The bins and `end` share out all target tokens, so their sums are the corpus's.

    Args:
        nll: nats of each target token, one array a document.
        tokens: the target tokens of the same documents, the end token last.
        human_counts: how often each type occurs in the human training pool, by token id.

    Raises:
        ValueError: `nll` and `tokens` do not match.
    """
    if [len(row) for row in nll] != [len(row) for row in tokens]:
        raise ValueError("nll and tokens: different lengths: expected one loss for each token")
    ids, ends = np.concatenate(tokens), np.cumsum([len(row) for row in tokens]) - 1
    bins = frequency_bins(_padded(human_counts, ids))[ids]
    bins[ends] = len(BINS)
    nats = np.bincount(bins, np.concatenate(nll), len(BINS) + 1)
    num = np.bincount(bins, minlength=len(BINS) + 1)
    by_bin = [_loss("loss", nats[i], num[i], name) for i, name in enumerate((*BINS, END))]
    rare = _loss("rare_loss", nats[0], num[0])
    common = _loss("common_loss", nats[1 : len(BINS)].sum(), num[1 : len(BINS)].sum())
    gap = rare.value - common.value
    note = rare.note or common.note or ("both are infinite" if math.isnan(gap) else "")
    return [*by_bin, rare, common, Measurement("rare_gap", gap, n=rare.n + common.n, note=note)]


def rare_tokens(ids: np.ndarray, human_counts: np.ndarray) -> list[Measurement]:
    """Measure the rate of rare tokens, the rare types that occur, and the human mass that does not.

    The second and third depend on the text's length: compare texts of equally many tokens.

    Args:
        ids: the text's tokens, without end tokens, at least one.
        human_counts: how often each type occurs in the human training pool, by token id.

    >>> [(m.metric, m.value) for m in rare_tokens(np.array([0, 0, 0, 3]), np.array([8, 1, 0, 1]))]
    [('rare_rate', 0.0), ('surviving_rare_types', 0.0), ('unseen_mass', 0.1)]
    """
    counts = _padded(human_counts, ids)
    is_rare = frequency_bins(counts) == 0
    rare_in_human = is_rare & (counts > 0)
    seen = np.bincount(ids, minlength=len(counts)) > 0
    return [
        Measurement("rare_rate", np.mean(is_rare[ids]), n=len(ids)),
        Measurement("surviving_rare_types", np.mean(seen[rare_in_human]), n=len(ids)),
        Measurement("unseen_mass", counts[~seen].sum() / counts.sum(), n=len(ids)),
    ]


@dataclass(frozen=True)
class RareTokens:
    """Measure held-out loss on rare and common tokens, and rare tokens in every compared split.

    Rare is what is rare in the human training pool, in bins fixed once a run; the human split is
    no part of it. Held-out loss is measured on the subset that `Perplexity` uses. Texts are
    compared on exactly as many tokens as the snapshot's `num_words`, end tokens left out: the first
    of the split's documents in order, so that finding few rare types is not merely having less
    text.
    """

    held_out_tokens: HeldOutSize = NUM_TOKENS

    def __post_init__(self) -> None:
        precision_of(self.held_out_tokens)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the loss by bin on held-out text, and the rare tokens of each split."""
        counts = _human_counts(snapshot)
        held_out = held_out_scores(snapshot, self.held_out_tokens)
        targets = snapshot.model.encode(held_out.texts)
        losses = loss_by_bin(held_out.scores.nll, targets, counts)

        def measure(split: str, rows: Rows) -> list[Measurement]:
            return _of_text(_document_tokens(snapshot, split), rows, snapshot.num_words, counts)

        return [
            *(replace(m, split="held_out") for m in losses),
            *measure_compared(snapshot, measure, fixed="rare_tokens"),
        ]


def _document_tokens(snapshot: Snapshot, split: str) -> list[np.ndarray]:
    """Return the tokens of a split's documents, without end tokens."""
    texts = list(snapshot.texts.get(split, ()))

    def encode() -> list[np.ndarray]:
        return [ids[:-1] for ids in snapshot.model.encode(texts)]

    return snapshot.once(("document_tokens", tuple(texts)), encode) if texts else []


def _of_text(
    tokens: Sequence[np.ndarray], rows: Rows, num_tokens: int, counts: np.ndarray
) -> list[Measurement]:
    """Measure the first `num_tokens` tokens of the documents at `rows`, in that order."""
    ends = np.cumsum([len(tokens[row]) for row in rows])
    used = int(np.searchsorted(ends, num_tokens)) + 1
    ids = np.concatenate([np.empty(0, np.int32), *(tokens[row] for row in rows[:used])])
    ids = ids[:num_tokens]
    if 0 < num_tokens <= len(ids):
        return rare_tokens(ids, counts)
    note = f"{len(ids)} tokens, {num_tokens} needed"
    return [Measurement(name, math.nan, n=len(ids), note=note) for name in TEXT_METRICS]


def _human_counts(snapshot: Snapshot) -> np.ndarray:
    """Count how often each type occurs in the human training pool, by token id."""

    def count() -> np.ndarray:
        counts = np.zeros(0, np.int64)
        for ids in _token_batches(snapshot.base, snapshot.human["text"]):
            counts = _padded(counts, ids)
            counts += np.bincount(ids, minlength=len(counts))
        return counts

    return snapshot.once_a_run(("human_counts", digest_of_ids(snapshot.human)), count)


def _token_batches(model: LanguageModel, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield the tokens of the texts, without end tokens, some thousand texts at a time."""
    for start in range(0, len(texts), _AT_ONCE):
        yield text_tokens(model.encode(list(texts[start : start + _AT_ONCE])))


def _loss(metric: str, nats: float, num: int, bin_name: str = "") -> Measurement:
    note = "" if num else "no held-out token in it"
    return Measurement(metric, nats / num if num else math.nan, bin=bin_name, n=int(num), note=note)


def _padded(counts: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Extend counts by zeros for those types of `ids` that human text never has."""
    return np.pad(counts, (0, max(int(ids.max(initial=-1)) + 1 - len(counts), 0)))
