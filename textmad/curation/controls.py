"""Control filters, which keep as much as another filter does, but at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.curation.document_rng import document_uniforms
from textmad.curation.protocol import Context, Filter, Verdicts, run_filter
from textmad.recipe.components import component_name

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Random:
    """Keep a random share of the documents: the control arm of every other filter.

    Exactly `round(keep * documents)` are kept: those with the highest score, which is a random
    number in (0, 1).

    Attributes:
        keep: share, above 0 and at most 1.
    """

    keep: float = 0.25

    def __post_init__(self) -> None:
        check_kept_share(self.keep)

    @property
    def kept_share(self) -> float:
        """Of the documents."""
        return self.keep

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        (score,) = document_uniforms(candidates["id"][:], context.rng, 1)
        keep = np.zeros(len(score), dtype=bool)
        keep[np.argsort(-score, kind="stable")[: round(self.keep * len(score))]] = True
        return Verdicts(keep, score, f"not among the {self.keep:.4g} kept at random")


@dataclass(frozen=True)
class MatchedRandom:
    """Keep, at random, exactly as many tokens as another filter would: its control arm.

    The other filter judges the same candidates with the same random stream as it would on its
    own. Then documents are kept in a random order until they hold as many tokens as it has kept,
    so the last one may exceed that number. Its votes and other columns stay in the table and
    decide nothing.

    Attributes:
        twin_of: the other filter. In a recipe it is `twin` before its name:
            `twin upvotes: {keep: 0.4}`.
    """

    twin_of: Filter

    @property
    def kept_share(self) -> float:
        """Of the documents, approximately; 1 if the other filter declares no share."""
        return float(getattr(self.twin_of, "kept_share", 1.0))

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        name = component_name(self.twin_of)
        verdicts = run_filter(name, self.twin_of, candidates, context)
        (score,) = document_uniforms(candidates["id"][:], context.rng.spawn(1)[0], 1)
        tokens = np.maximum(np.array(candidates["tokens"][:], dtype=np.int64), 1)  # 0: unknown
        order = np.argsort(-score, kind="stable")
        tokens_before = np.cumsum(tokens[order]) - tokens[order]
        keep = np.zeros(len(score), dtype=bool)
        keep[order] = tokens_before < tokens[verdicts.keep].sum()
        reason = f"not among those kept at random, as many tokens as by {name}"
        return Verdicts(keep, score, reason, verdicts.columns)


def check_kept_share(keep: float) -> None:
    """Check that `keep` is a share of the documents.

    Raises:
        ValueError: it is not above 0 and at most 1.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep: {keep:g}: expected a share above 0 and at most 1")
