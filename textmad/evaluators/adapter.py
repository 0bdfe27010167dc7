"""How far training has changed a model: after too small a change no collapse can show."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from textmad.evaluators.held_out import NUM_TOKENS, held_out_scores
from textmad.evaluators.perplexity import base_nll, corpus_loss
from textmad.evaluators.protocol import Measurement, Snapshot, at_least
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from textmad.models.protocol import SupportsWeightChanges

_log = logging.getLogger(__name__)

_EDGE = 0.1  # of the steps: what is first, and what is last


@dataclass(frozen=True)
class Adapter:
    """Measure the norm of the learned change, and the change of training and held-out losses.

    A model whose predictions of held-out tokens are on average less than `least_move` nats from
    the base model's cannot be far from it in perplexity either, whatever it was fed: the difference
    of two means is at most the mean of the differences. Such a run's perplexity shows no collapse
    because it cannot; so a warning is given, once, and stands as a note of
    `prediction_moved`. Low rank and learning rate are what makes adapters so weak.
    """

    least_move: float = 0.05
    held_out_tokens: int = NUM_TOKENS

    def __post_init__(self) -> None:
        if not 0 <= self.least_move < math.inf:
            raise ValueError(f"least_move: {self.least_move:g}: expected at least 0")
        at_least("held_out_tokens", self.held_out_tokens, 1)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Norms of the whole and of each weight, training loss, held-out loss."""
        return [*_norms(snapshot), *_training(snapshot.curve), *self._held_out(snapshot)]

    def _held_out(self, snapshot: Snapshot) -> Iterator[Measurement]:
        held_out = held_out_scores(snapshot, self.held_out_tokens)
        after = held_out.scores.nll
        before = base_nll(snapshot, "held_out", Passages.whole(held_out.texts))
        learned = corpus_loss(before) - corpus_loss(after)
        moved = corpus_loss([np.abs(own - base) for own, base in zip(after, before, strict=True)])
        num = sum(map(len, before))
        # Generation 0 has learned human text alone, of which nothing collapses.
        warning = self._warning(moved) if snapshot.generation else ""
        if warning:
            where = f"generation {snapshot.generation}: {warning}"
            snapshot.once_a_run("adapter warned", lambda: _log.warning("%s", where))
        yield _measurement("held_out_loss_moved", learned, "held_out", num)
        yield _measurement("prediction_moved", moved, "held_out", num, warning)

    def _warning(self, moved: float) -> str:
        if not moved < self.least_move:
            return ""
        return (
            f"the model is {moved:.2g} nats a token from the base model, less than "
            f"{self.least_move:g} (adapter.least_move): its held-out perplexity is within "
            f"{100 * math.expm1(moved):.2g} % of the base model's, so no larger rise of it can "
            "show; raise model.lora.rank, train.learning_rate or train.epochs"
        )


def _norms(snapshot: Snapshot) -> Iterator[Measurement]:
    """Frobenius norm of the update by that of the base model's weight, of all and of each."""
    if not hasattr(snapshot.model, "weight_changes"):
        note = f"the model {snapshot.model.name} has no weight_changes"
        yield Measurement("adapter_norm", math.nan, note=note)
        return
    changes = cast("SupportsWeightChanges", snapshot.model).weight_changes()
    update, base = (
        math.hypot(*(getattr(change, norm) for change in changes)) for norm in ("update", "base")
    )
    for name, over, under, num in [("", update, base, sum(c.num for c in changes)), *changes]:
        note = "" if under else "the base model's weights are all 0, or none was learned"
        yield Measurement(
            "adapter_norm", over / under if under else math.nan, bin=name, n=num, note=note
        )


def _training(curve: Sequence[Mapping[str, float]]) -> Iterator[Measurement]:
    """Mean loss of the first and of the last tenth of the steps, and how far it fell."""
    tokens = np.diff([row["tokens"] for row in curve], prepend=0)
    losses = np.array([row["loss"] for row in curve])
    num = max(1, round(_EDGE * len(curve)))
    edges = {"first": slice(num), "last": slice(-num, None)}
    note = "" if len(curve) > 1 else f"{len(curve)} training steps: expected at least two"
    means = {}
    for name, steps in edges.items():
        means[name] = math.nan if note else float(np.average(losses[steps], weights=tokens[steps]))
        count = 0 if note else int(tokens[steps].sum())
        yield Measurement("training_loss", means[name], "training", name, count, note)
    moved = means["first"] - means["last"]
    yield Measurement("training_loss_moved", moved, "training", n=int(tokens.sum()), note=note)


def _measurement(name: str, value: float, split: str, num: int, note: str = "") -> Measurement:
    if math.isnan(value):
        note = "the loss is infinite"
    return Measurement(name, value, split, n=num, note=note)
