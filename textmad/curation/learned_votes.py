"""What a human crowd voted up, learned from its votes: a scorer, its report, and its two files.

    import textmad as tm

    model = tm.learned_votes.fit(run.human)
    model.report["cross_validated"]["auc_median"]     # {'text': 0.56, 'length': 0.51}
    tm.learned_votes.save(model, "models/votes")  # the scorer learned_votes(models/votes)

Text alone says little about votes: who posted, when and where counts for more. So a model is never
without its report, which holds it against length alone on documents it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textmad.curation.lengths import log_words
from textmad.curation.protocol import Context
from textmad.curation.text_features import (
    NUM_FEATURES,
    Weighing,
    hashed_counts,
    learned_weighing,
)
from textmad.curation.vote_targets import VoteTargets, vote_targets
from textmad.detection import auc
from textmad.errors import CurationError
from textmad.store import file_digest

if TYPE_CHECKING:
    from datasets import Dataset
    from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float64]

NAME = "learned_votes"
FACTS, WEIGHTS = "learned_votes.json", "learned_votes.safetensors"
FOLDS = 5
# Of the ridge, over rows of length 1. The ranks hardly depend on it: from 10 to 120 the AUC on
# Reddit posts moves by 0.003.
_SHRINKAGE = 30.0


@dataclass(frozen=True, eq=False)
class LearnedVotes:
    """A ridge regression from words to the percentile of votes.

    Attributes:
        weighing: the words that it knows.
        weights: of the regression, one a known word.
        intercept: of the regression.
        report: what it learned from, and how well it does on documents it has not seen.
    """

    weighing: Weighing
    weights: Floats
    intercept: float
    report: dict[str, Any]

    def score(self, texts: Sequence[str]) -> list[float]:
        """The percentile that each text's votes are expected to have, near 0.5."""
        return self._of_counts(hashed_counts(texts)).tolist() if texts else []

    def _of_counts(self, counts: csr_matrix) -> Floats:
        scores: Floats = self.weighing.rows(counts) @ self.weights + self.intercept
        return scores


def fit(corpus: Dataset) -> LearnedVotes:
    """Learn from a corpus's own votes (columns text, votes, community, time, conversation).

    The target is `vote_targets`'s. The report's `cross_validated` has, for the text and for length
    alone (a line in log(1 + words)), the means over five folds of: `auc_median`, upper against
    lower half; `auc_quarters`, top against bottom quarter; `spearman`. No conversation stands on
    both sides of a fold.

    Raises:
        CurationError: there are no votes, too few, or all are equal.
    """
    target = vote_targets(corpus)
    counts = hashed_counts(target.texts)
    return _ridge(counts, target.values, _report(counts, target))


def save(model: LearnedVotes, folder: str | Path) -> None:
    """Write a model as JSON and safetensors; `load` gives one back with the same scores."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({**model.weighing._asdict(), "weights": model.weights}, folder / WEIGHTS)
    facts = {
        "features": NUM_FEATURES,
        "intercept": model.intercept,
        "sha256": file_digest(folder / WEIGHTS),
        "report": model.report,
    }
    text = json.dumps(facts, indent=1) + "\n"
    (folder / FACTS).write_text(text, encoding="utf-8")


def load(folder: str | Path) -> LearnedVotes:
    """Read what `save` wrote.

    Raises:
        CurationError: it is not there, or not what was written.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if file_digest(folder / WEIGHTS) != facts["sha256"]:  # safetensors takes a flipped bit
            raise ValueError(f"{WEIGHTS} has another SHA-256 than when it was written")
        if facts["features"] != NUM_FEATURES:
            raise ValueError(f"{facts['features']} features, expected {NUM_FEATURES}")
        tensors = load_file(folder / WEIGHTS)
        weighing = Weighing(tensors["columns"], tensors["rarity"])
        return LearnedVotes(weighing, tensors["weights"], facts["intercept"], facts["report"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CurationError(
            f"learned_votes: {folder}: no learned votes can be read there ({error}); store them "
            "with scripts/learn_votes.py"
        ) from error


def learned_votes(texts: list[str], context: Context) -> list[float]:
    """The percentile of votes that the run's human text lets one expect, near 0.5."""
    if not texts:
        return []
    model = _fitted_once(context.human)
    context.record(NAME, model.report)
    return model.score(texts)


# The human text of a run is one object, and the same for all generations.
_fitted_once = lru_cache(maxsize=1)(fit)


# --- how good it is -------------------------------------------------------------------------


def _ridge(counts: csr_matrix, values: Floats, report: dict[str, Any]) -> LearnedVotes:
    from sklearn.linear_model import Ridge

    weighing = learned_weighing(counts)
    ridge: Any = Ridge(alpha=_SHRINKAGE, solver="lsqr").fit(weighing.rows(counts), values)
    return LearnedVotes(weighing, ridge.coef_, float(ridge.intercept_), report)


def _report(counts: csr_matrix, target: VoteTargets) -> dict[str, Any]:
    lengths = log_words(target.texts)
    found: dict[str, list[dict[str, float]]] = {"text": [], "length": []}
    for fold in range(FOLDS):
        held_out = target.groups % FOLDS == fold  # groups are numbered by hash
        learned, truth = target.values[~held_out], target.values[held_out]
        model = _ridge(counts[~held_out], learned, {})
        found["text"].append(_quality(model._of_counts(counts[held_out]), truth))
        slope = np.cov(lengths[~held_out], learned)[0, 1]  # which way it goes is all that counts
        found["length"].append(_quality(lengths[held_out] * np.sign(slope), truth))
    figures = {
        metric: {name: _mean([fold[metric] for fold in folds]) for name, folds in found.items()}
        for metric in found["text"][0]
    }
    num_groups = len(np.unique(target.groups))
    return {
        "documents": len(target.texts),
        "conversations": num_groups,
        "left_out": target.left_out,
        "votes_of": "conversations" if target.whole_conversations else "documents",
        "length_regressed_out": target.whole_conversations,
        "folds": FOLDS,
        "cross_validated": figures,
        "warning": _warning(figures["spearman"], num_groups),
    }


def _quality(scores: Floats, truth: Floats) -> dict[str, float]:
    from scipy.stats import rankdata

    ranks, true_ranks = rankdata(scores), rankdata(truth)
    constant = np.ptp(ranks) == 0 or np.ptp(true_ranks) == 0
    outer = (truth <= 0.25) | (truth >= 0.75)
    return {
        "auc_median": _auc(truth > 0.5, scores),
        "auc_quarters": _auc(truth[outer] > 0.5, scores[outer]),
        "spearman": 0.0 if constant else float(np.corrcoef(ranks, true_ranks)[0, 1]),
    }


def _auc(upper: npt.NDArray[np.bool_], scores: Floats) -> float:
    return auc(scores[upper], scores[~upper]) if upper.any() and not upper.all() else float("nan")


def _mean(values: list[float]) -> float | None:
    """Of the folds in which it could be computed; null in JSON where in none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def _warning(spearman: dict[str, float | None], num_groups: int) -> str:
    """Empty where the text beats length by two standard errors of a correlation of nothing."""
    text, length = (spearman[name] or 0.0 for name in ("text", "length"))
    if text > max(length, 0.0) + 2 / np.sqrt(num_groups):
        return ""
    return (
        f"learned_votes is not better than length alone: Spearman {text:.3f} against {length:.3f} "
        f"on documents it has not seen ({num_groups:,} conversations); what it votes up means "
        "little"
    )
