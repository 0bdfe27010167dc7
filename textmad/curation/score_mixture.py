"""Quality of documents: the value of one scorer, or a weighted mixture of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from textmad.curation.document_rng import Floats
from textmad.curation.protocol import Context
from textmad.curation.scorers import Scorer, own_sources, resolve, score_candidates, scorer_name
from textmad.curation.voters import weighted_sum

if TYPE_CHECKING:
    from datasets import Dataset

# As it stands in a recipe: a name, names with their weights, or (from Python) a function.
ScorerSetting = str | dict[str, float] | Callable[[list[str]], Sequence[float]]
Units = Literal["standard", "raw"]


class QualityScores(NamedTuple):
    """Documents scored by a mixture of scorers."""

    scorer_values: Floats  # (documents, scorers), in the unit of quality
    weights: Floats  # (scorers,), of absolute sum 1
    quality: Floats  # (documents,): the weighted sum of `scorer_values`
    rewards: dict[str, Floats]  # the scorers' own values, as columns for the candidates' table


def check_scorer(scorer: ScorerSetting) -> None:
    """Check that a scorer, or a mixture of them, can be used.

    Raises:
        ValueError: it names the setting `scorer` and what is wrong with it.
    """
    weights = list(_weights(scorer).values())
    if not any(weights) or not np.all(np.isfinite(weights)):
        raise ValueError(
            f"scorer: {scorer}: expected finite weights, at least one of them other than 0"
        )
    for part in _parts(scorer):
        resolve(part)


def score_quality(
    scorer: ScorerSetting, units: Units, candidates: Dataset, context: Context
) -> QualityScores:
    """Score the candidates, and return their quality with what it is made of.

    Weights are relative, and may be negative. In `standard` units every scorer is standardised
    over the candidates, and so is their weighted sum; in `raw` units neither is changed.

    Raises:
        CurationError: a scorer raised or gave something other than finite numbers.
    """
    weights = np.array(list(_weights(scorer).values()), dtype=np.float64)
    weights /= np.abs(weights).sum()
    values = [score_candidates(part, candidates, context) for part in _parts(scorer)]
    rewards = {
        f"reward_{name}": value for name, value in zip(_weights(scorer), values, strict=True)
    }
    if units == "standard":
        values = [standardised(value) for value in values]
    scorer_values = np.stack(values, axis=1)
    quality = weighted_sum(scorer_values, weights)
    if units == "standard" and len(weights) > 1 and quality.any():
        scorer_values = scorer_values / quality.std()
        quality = weighted_sum(scorer_values, weights)
    return QualityScores(scorer_values, weights, quality, rewards)


def own_scorer_sources(scorer: ScorerSetting) -> dict[str, str]:
    """Return digests of the user's own code and files that the scorers use, by name."""
    return {name: value for part in _parts(scorer) for name, value in own_sources(part).items()}


def standardised(values: Floats) -> Floats:
    """Return (values - mean) / standard deviation; zeros if all are equal.

    >>> standardised(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    if not len(values) or values.min() == values.max():
        return np.zeros(len(values))
    centred = values - values.mean()
    deviations: Floats = centred / centred.std()
    return deviations


def _parts(scorer: ScorerSetting) -> list[str | Scorer]:
    return list(scorer) if isinstance(scorer, dict) else [scorer]


def _weights(scorer: ScorerSetting) -> dict[str, float]:
    return scorer if isinstance(scorer, dict) else {scorer_name(scorer): 1.0}
