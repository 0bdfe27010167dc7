"""What an audit found: a row a metric and file or group, and the same as a table of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from textmad.auditing.reference_metrics import Sizes
from textmad.auditing.sources import Source
from textmad.evaluators.human_baseline import LEVEL, Ceiling
from textmad.evaluators.metrics import METRICS
from textmad.evaluators.protocol import Metric

if TYPE_CHECKING:
    import pandas as pd

# Here rare is by words, and the reference is not learned from.
_OWN = (
    Metric("document_words", "human", "words", "Words a document"),
    Metric("near_repeated_share", "human", "share", "Near-repeated documents"),
    Metric("rare_rate", "human", "share", "Rare-word rate"),
    Metric("surviving_rare_types", "human", "share", "Surviving rare words"),
    Metric("unseen_mass", "human", "share", "Human mass of words not used"),
    Metric("overlap", "human", "share", "Verbatim overlap with the reference"),
    Metric("copied_documents", "human", "share", "Documents that stand in the reference"),
    Metric("near_copied_documents", "human", "share", "Near-copies of the reference"),
)
MEASURED: Mapping[str, Metric] = METRICS | {metric.name: metric for metric in _OWN}
# What a few documents make up: copies, whole or, of n-grams, in parts.
COUNTS = frozenset(
    (
        "repeated_share",
        "near_repeated_share",
        "overlap",
        "copied_documents",
        "near_copied_documents",
    )
)
# Beside shares: nothing of these is above 1.
_UP_TO_1 = ("ngram_gap_", "self_bleu_", "detection_auc")


def highest(metric: str) -> float:
    """What a value can be at most; infinite where no bound is known.

    >>> highest("mattr"), highest("ngram_gap_3"), highest("entropy_1")
    (1.0, 1.0, inf)
    """
    is_share = MEASURED[metric].unit == "share"
    return 1.0 if is_share or metric.startswith(_UP_TO_1) else math.inf


class Row(NamedTuple):
    """One metric of one file or group."""

    by: str  # "file" or "group"
    name: str
    metric: str
    bin: str
    value: float
    n: int
    note: str
    human: Ceiling
    sizes: Sizes
    p: float  # adjusted (Holm) over all rows of the audit; NaN where there is no value

    @property
    def side(self) -> str:
        """`above` or `below` the reference's range, or `inside`; empty without a value."""
        if np.isnan(self.p):
            return ""
        if self.human.low <= self.value <= self.human.high:
            return "inside"
        return "above" if self.value > self.human.mean else "below"

    @property
    def distance(self) -> float:
        """From the centre of human values, in their standard deviations."""
        return self.human.distance(self.value)

    @property
    def differs(self) -> bool:
        """Outside, and too far for chance also when as many are looked at."""
        return self.side in ("above", "below") and self.p < LEVEL


@dataclass(frozen=True)
class Audit:
    """What was read, what was measured, and what has to be said about it."""

    reference: Source
    sources: tuple[Source, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a metric and a file or group, all figures as numbers; NaN where none is."""
        import pandas as pd

        return pd.DataFrame([_flat(row) for row in self.rows])


def _flat(row: Row) -> dict[str, object]:
    return {
        "by": row.by,
        "name": row.name,
        "metric": row.metric,
        "bin": row.bin,
        "value": row.value,
        "human": row.human.mean,
        "human_low": row.human.low,
        "human_high": row.human.high,
        "p": row.p,
        "side": row.side,
        "differs": row.differs,
        "documents": row.sizes.documents,
        "words": row.sizes.words,
        "n": row.n,
        "note": row.note,
    }
