"""Control filters: what a selection does is what it does beyond keeping as many at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.curation.draws import document_uniforms
from textmad.curation.protocol import Context, Verdicts

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Random:
    """Keep a share of the documents, whatever they say: the control arm of every other filter.

    Exactly `round(keep * documents)` are kept: those with the highest score, which is a random
    number in (0, 1).

    Attributes:
        keep: share, above 0 and at most 1.
    """

    keep: float = 0.25

    def __post_init__(self) -> None:
        check_kept_share(self.keep)

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        (score,) = document_uniforms(candidates["id"][:], context.rng, 1)
        keep = np.zeros(len(score), dtype=bool)
        keep[np.argsort(-score, kind="stable")[: round(self.keep * len(score))]] = True
        return Verdicts(keep, score, f"not among the {self.keep:.4g} kept at random")


def check_kept_share(keep: float) -> None:
    """Refuse a `keep` that is not a share of the documents."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep: {keep:g}: expected a share above 0 and at most 1")
