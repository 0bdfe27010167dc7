"""A crowd's upvotes: what is liked is kept, and the next model learns from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmad.curation.controls import check_kept_share
from textmad.curation.draws import document_uniforms
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.scorers import resolved, scored

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Upvotes:
    """Keep the share of documents that a crowd votes up most.

    A document's quality is its scorer's value, standardised over the candidates. Each voter
    perceives the quality plus their own noise, and votes up what they perceive at or above the
    average, otherwise down; so a document of quality q gets a voter's upvote with probability
    1 / (1 + exp(-q / noise)). Documents of equally many upvotes stand in the order of their mean
    perceived quality, then of their id. Hence without noise the crowd ranks by quality exactly,
    and with endless noise it keeps what chance keeps.

    Votes belong to the document's id, not to its place. The documents' `votes` become ups less
    downs, and the score is that by the number of voters, in [-1, 1]; the table also gets `ups`,
    `downs` and `quality`. Exactly `round(keep * documents)` are kept.

    Attributes:
        scorer: `fluency` or `variety` (`textmad.curation.scorers`), or a function from a list of
            texts to a list of numbers, higher being better; in YAML as module:name.
        voters: at least 1.
        noise: scale of a voter's logistic noise in standard deviations of quality; 0 = none.
        keep: share, above 0 and at most 1.
    """

    scorer: str | Callable[[list[str]], Sequence[float]] = "fluency"
    voters: int = 50
    noise: float = 1.0
    keep: float = 0.25

    def __post_init__(self) -> None:
        resolved(self.scorer)
        if self.voters < 1:
            raise ValueError(f"voters: {self.voters}: expected at least 1")
        if not 0 <= self.noise < np.inf:
            raise ValueError(f"noise: {self.noise:g}: expected a finite number of at least 0")
        check_kept_share(self.keep)

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        ids = candidates["id"][:]
        quality = standardised(scored(self.scorer, candidates, context))
        ups = np.zeros(len(ids), dtype=np.int64)
        perceived = np.zeros(len(ids))  # summed over the voters
        for draw in document_uniforms(ids, context.rng, self.voters):
            impression = quality + self.noise * np.log(draw / (1 - draw))
            ups += impression >= 0
            perceived += impression
        downs = self.voters - ups
        keep = np.zeros(len(ids), dtype=bool)
        ranking = np.lexsort((np.array(ids, dtype=str), -perceived, -ups))  # last key first
        keep[ranking[: round(self.keep * len(ids))]] = True
        votes = (ups - downs).astype(np.float64)
        return Verdicts(
            keep,
            votes / self.voters,
            f"not among the {self.keep:.4g} most upvoted",
            {"ups": ups, "downs": downs, "quality": quality, "votes": votes},
        )


def standardised(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values less their mean, by their standard deviation; zeros where all are equal.

    >>> standardised(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    if not len(values) or values.min() == values.max():
        return np.zeros(len(values))
    centred = values - values.mean()
    deviations: npt.NDArray[np.float64] = centred / centred.std()
    return deviations
