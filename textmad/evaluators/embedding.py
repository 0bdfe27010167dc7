"""Where a generation's text lies in a model's space, beside where human text lies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from textmad.evaluators.geometry import Floats, mauve, neighbourhood_overlap, vendi_score
from textmad.evaluators.held_out import reference_texts
from textmad.evaluators.protocol import COMPARED, Measurement, Snapshot, at_least

if TYPE_CHECKING:
    from textmad.models import Embeds

NAMES = (
    "mauve",
    *("embedding_precision", "embedding_recall", "embedding_density", "embedding_coverage"),
    "vendi_score",
)


@dataclass(frozen=True)
class Embedding:
    """MAUVE, precision, recall, density, coverage and Vendi score of drawn, kept and human text.

    A document is the mean of the last hidden states at its tokens, of the base model or of
    `encoder` (a folder or a Hub id). All but the Vendi score are held against held-out human
    text, of equally many documents: as many as are compared, at most `documents` and what is
    held out. The human text's own values are the ceiling: no two samples of it are the same.
    """

    documents: int = 1000
    neighbours: int = 5
    encoder: str | None = None

    def __post_init__(self) -> None:
        at_least("documents", self.documents, 2)
        at_least("neighbours", self.neighbours, 1)

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """The six metrics of each split."""
        reference = reference_texts(snapshot, min(self.documents, snapshot.num_documents))
        return [m for split in COMPARED for m in self._measured(snapshot, split, reference)]

    def _measured(
        self, snapshot: Snapshot, split: str, reference: Sequence[str]
    ) -> Iterator[Measurement]:
        texts = snapshot.compared(split)[: len(reference)]
        note = self._why_not(snapshot, split, len(texts))
        if note:
            values = dict.fromkeys(NAMES, math.nan)
        else:
            once = snapshot.once_a_run if split == "human" else snapshot.once
            key = ("embedding", self, tuple(reference), tuple(texts))
            values = once(key, lambda: self._compare(snapshot, texts, reference))
        for name, value in values.items():
            yield Measurement(name, value, split, n=len(texts), note=note)

    def _why_not(self, snapshot: Snapshot, split: str, num_texts: int) -> str:
        if self.encoder is None and not hasattr(snapshot.base, "embed"):
            return f"the model {snapshot.base.name} has no embed"
        if not snapshot.compared(split):
            return f"too few {split} documents"
        if num_texts <= self.neighbours:
            return f"{num_texts} documents: too few for {self.neighbours} neighbours each"
        return ""

    def _compare(
        self, snapshot: Snapshot, texts: Sequence[str], reference: Sequence[str]
    ) -> dict[str, float]:
        if self.encoder is None:
            model = cast("Embeds", snapshot.base)
        else:
            model = snapshot.open_encoder(self.encoder)

        def points(some: Sequence[str]) -> Floats:
            return np.array(model.embed(list(some)), dtype=np.float64)

        key = ("embedded", self.encoder, tuple(reference))
        human, own = snapshot.once_a_run(key, lambda: points(reference)), points(texts)
        overlap = neighbourhood_overlap(own, human, self.neighbours)
        values = (mauve(own, human), *overlap, vendi_score(own))
        return dict(zip(NAMES, values, strict=True))
