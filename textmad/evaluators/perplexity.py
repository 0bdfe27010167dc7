"""How well the model predicts held-out human text, and how likely its text is to the base model.

Every figure sums nats and target tokens over the corpus and divides once. The mean of
per-document perplexities is another and useless number: one odd document decides it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import cast

import numpy as np

from textmad.evaluators.held_out import (
    NUM_TOKENS,
    HeldOutSize,
    held_out_scores,
    precision_of,
    relative_error,
)
from textmad.evaluators.protocol import REFERENCES, Measurement, Snapshot
from textmad.evaluators.references import Rows, compared_passages, measure_compared
from textmad.models.protocol import SupportsSampledIds
from textmad.text.passages import Passages

SAMPLED = ("drawn", "kept", "base")  # the splits that a model has written
# Both tails, as bins are named.
QUANTILES = {"1%": 0.01, "5%": 0.05, "25%": 0.25, "median": 0.5}
QUANTILES |= {"75%": 0.75, "95%": 0.95, "99%": 0.99}


def corpus_loss(nll: Sequence[np.ndarray]) -> float:
    """Compute nats per target token over a whole corpus.

    `nll` holds one array a document, each the negative log-likelihood in nats of its target
    tokens, end token included. The sum is exact, so the order of documents changes no bit of it.

    Raises:
        ValueError: no tokens.
    """
    return _total(nll) / _num_tokens(nll)


def exponential(loss_nats: float) -> float:
    """Compute the perplexity of a loss; infinite where a float64 would overflow."""
    return math.exp(loss_nats) if loss_nats < 709 else math.inf


def corpus_perplexity(nll: Sequence[np.ndarray]) -> float:
    """Compute the exponential of `corpus_loss`: 1 is certainty, the vocabulary's size a guess.

    >>> round(corpus_perplexity([np.log([2.0, 8.0]), np.log([4.0])]), 9)
    4.0
    """
    return exponential(corpus_loss(nll))


def bits_per_byte(nll: Sequence[np.ndarray], texts: Sequence[str]) -> float:
    """Compute bits per UTF-8 byte: comparable between tokenizers, as perplexity is not.

    The bits of the end tokens are in it, though an end token has no bytes.

    >>> bits_per_byte([np.log([2.0, 8.0])], ["ab"])
    2.0
    """
    return _total(nll) / math.log(2) / _num_bytes(texts)


def next_token_accuracy(correct: Sequence[np.ndarray]) -> float:
    """Compute the share of target tokens that the model held for the most likely one."""
    return sum(int(np.count_nonzero(hits)) for hits in correct) / _num_tokens(correct)


def perplexity(
    nll: Sequence[np.ndarray], texts: Sequence[str], correct: Sequence[np.ndarray] | None = None
) -> list[Measurement]:
    """Measure perplexity, loss and bits per byte of scored texts; accuracy if `correct` is given.

    >>> [m.metric for m in perplexity([np.log([2.0])], ["a"])]
    ['perplexity', 'loss', 'bits_per_byte']
    """
    total, num_tokens = _total(nll), _num_tokens(nll)
    values = {
        "perplexity": exponential(total / num_tokens),
        "loss": total / num_tokens,
        "bits_per_byte": total / math.log(2) / _num_bytes(texts),
    }
    if correct is not None:
        values["accuracy"] = next_token_accuracy(correct)
    return [Measurement(name, value, n=num_tokens) for name, value in values.items()]


@dataclass(frozen=True)
class Perplexity:
    """Measure held-out text under the model, and every compared split under the base model.

    Held-out text is measured on a fixed subset of `held_out_tokens` tokens, whole documents:
    scoring is dear, and on the same documents each time a difference between generations is far
    more exact than either value. Raise it for the values themselves, or give the precision that
    they need: "2%" is a relative standard error of the base model's perplexity
    (`textmad.evaluators.held_out` has the formula).

    The base model never changes, so its perplexity of drawn text tells whether the text became
    likelier (narrowing) or stranger (noise) than human text. A prompt is context and is not scored.
    The end token is scored where the text has reached its end, and not where it was cut.

    Text is scored by the tokens that it encodes to, as human text is and as those who read it will
    encode it. `reencoded_share` is the share of sampled documents that were sampled as other
    tokens, and `base_perplexity_as_sampled` scores these by the tokens that were sampled.
    """

    held_out_tokens: HeldOutSize = NUM_TOKENS

    def __post_init__(self) -> None:
        precision_of(self.held_out_tokens)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure held-out text by four metrics, and every compared split under the base model."""
        held_out = held_out_scores(snapshot, self.held_out_tokens)
        measured = perplexity(held_out.scores.nll, held_out.texts, held_out.scores.correct)
        passages = Passages.whole(held_out.texts)
        nll = base_nll(snapshot, "held_out", passages)
        of_base = _base_perplexity(nll)
        if precision_of(self.held_out_tokens) is not None:
            error = f"{relative_error(nll):.2%}"
            note = f"relative standard error {error}, {self.held_out_tokens} was asked for"
            of_base = replace(of_base, note=note)
        measured.append(of_base)

        def measure(split: str, rows: Rows) -> list[Measurement]:
            nll = base_nll(snapshot, split, compared_passages(snapshot, split))
            return [_base_perplexity([nll[row] for row in rows[: snapshot.num_documents]])]

        return [
            *(replace(m, split="held_out") for m in measured),
            *measure_compared(snapshot, measure, fixed="base_perplexity"),
            *measure_compared(
                snapshot, partial(_as_sampled, snapshot), splits=SAMPLED, fixed="as sampled"
            ),
        ]


@dataclass(frozen=True)
class TextPerplexity:
    """Measure quantiles of the perplexity of single documents under the base model.

    Shumailov et al. (Nature 631, 2024, figure 1) plot it: later generations' text gathers at low
    perplexity, and grows a tail of documents that no human would have written. The mean hides
    both. A document's perplexity is the exponential of its mean nats per target token.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the quantiles of each split, equally many documents of each."""

        def measure(split: str, rows: Rows) -> list[Measurement]:
            nats = _mean_nats(snapshot, split)[rows[: snapshot.num_documents]]
            return _quantiles(nats)

        return measure_compared(snapshot, measure, fixed="text_perplexity", num_behind=num_beyond)


def num_beyond(quantile: Measurement) -> float:
    """Return how many documents lie beyond a quantile, on its shorter side."""
    share = QUANTILES[quantile.bin]
    return min(share, 1 - share) * quantile.n


def _mean_nats(snapshot: Snapshot, split: str) -> np.ndarray:
    """Return each document's mean nats per target token under the base model, `(documents,)`."""
    passages = compared_passages(snapshot, split)

    def average() -> np.ndarray:
        return np.array([np.mean(row) for row in base_nll(snapshot, split, passages)])

    return snapshot.once(("mean nats", split, passages), average)


def _quantiles(nats: np.ndarray) -> list[Measurement]:
    """Measure the quantiles of documents' mean nats, as perplexities."""
    if not len(nats):
        return [
            Measurement("text_perplexity", math.nan, bin=name, note="no documents")
            for name in QUANTILES
        ]
    # Interpolated in nats: a perplexity may be infinite.
    return [
        Measurement("text_perplexity", exponential(float(value)), bin=name, n=len(nats))
        for name, value in zip(QUANTILES, np.quantile(nats, list(QUANTILES.values())), strict=True)
    ]


def base_nll(snapshot: Snapshot, split: str, passages: Passages) -> list[np.ndarray]:
    """Return the nats of each target token of each text under the base model; score each once."""

    def score() -> list[np.ndarray]:
        nll = snapshot.base.token_nll(list(passages.texts), *passages.prompt_arguments())
        return passages.without_unwritten_ends(nll)

    # Reference texts are the same in every generation; and where nothing was rejected the kept
    # texts are the drawn ones.
    is_same_all_run = split in ("held_out", *REFERENCES)
    once = snapshot.once_a_run if is_same_all_run else snapshot.once
    return once(("base_nll", passages), score) if passages else []


def _nll_as_sampled(snapshot: Snapshot, split: str) -> list[np.ndarray]:
    """Return the same nats, of the ids that were sampled where the text encodes to others.

    Raises:
        ValueError: the base model does not score ids.
    """
    passages, sampled_ids = compared_passages(snapshot, split), snapshot.sampled_ids[split]
    rows = [row for row in range(len(passages)) if sampled_ids[row] is not None]
    if rows and not isinstance(snapshot.base, SupportsSampledIds):
        raise ValueError("the base model does not score ids (nll_of_ids)")

    def score() -> list[np.ndarray]:
        nll = list(base_nll(snapshot, split, passages))
        if rows:
            again, ids = passages.take(rows), [tuple(sampled_ids[row] or ()) for row in rows]
            scored = cast(SupportsSampledIds, snapshot.base).nll_of_ids(
                ids, *again.prompt_arguments()
            )
            for row, nats in zip(rows, again.without_unwritten_ends(scored), strict=True):
                nll[row] = nats
        return nll

    return snapshot.once(("nll as sampled", split, passages), score)


def _base_perplexity(nll: Sequence[np.ndarray], name: str = "base_perplexity") -> Measurement:
    if not nll:
        return Measurement(name, math.nan, note="no documents")
    return Measurement(name, corpus_perplexity(nll), n=_num_tokens(nll))


def _as_sampled(snapshot: Snapshot, split: str, rows: Rows) -> list[Measurement]:
    """Measure sampled documents by the ids that were sampled, and how many encode to others."""
    names = ("base_perplexity_as_sampled", "reencoded_share")
    sampled_ids, compared = snapshot.sampled_ids.get(split), rows[: snapshot.num_documents]
    if sampled_ids is None or not len(compared):
        return [Measurement(name, math.nan, note="the sampled ids are not known") for name in names]
    share = float(np.mean([sampled_ids[row] is not None for row in compared]))
    try:
        nll = _nll_as_sampled(snapshot, split)
        perplexity = _base_perplexity([nll[row] for row in compared], names[0])
    except ValueError as error:
        perplexity = Measurement(names[0], math.nan, note=str(error))
    return [perplexity, Measurement(names[1], share, n=len(compared))]


def _total(nll: Sequence[np.ndarray]) -> float:
    return math.fsum(chain.from_iterable(document.tolist() for document in nll))


def _num_bytes(texts: Sequence[str]) -> int:
    num_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if num_bytes == 0:
        raise ValueError("texts: no bytes: expected text")
    return num_bytes


def _num_tokens(arrays: Sequence[np.ndarray]) -> int:
    num_tokens = sum(len(document) for document in arrays)
    if num_tokens == 0:
        raise ValueError("no target tokens: expected at least one")
    return num_tokens
