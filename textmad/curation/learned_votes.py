"""The scorer `learned_votes`: fitted to human votes, saved in two files, with a report.

    import textmad as tm

    model = tm.learned_votes.fit(run.human)
    model.report["cross_validated"]["auc_median"]     # {'text': 0.56, 'length': 0.51}
    tm.learned_votes.save(model, "models/votes")  # the scorer learned_votes(models/votes)

The vectors of a sentence encoder can be added to the words:

    model = tm.learned_votes.fit(run.human, tm.open_encoder("models/minilm"))

Text alone predicts little about votes: who posted, when and where matters more. So each model has
a report that compares it with length alone, on documents that it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textmad.curation.protocol import Context
from textmad.curation.text_features import (
    NUM_FEATURES,
    Features,
    Space,
    Texts,
    Weighing,
    fit_features,
    read_texts,
)
from textmad.curation.vote_targets import VoteTargets, log_words, vote_targets
from textmad.detection import auc
from textmad.errors import CurationError, check_disk
from textmad.store import file_digest

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.causal_lm.encoder import Encoder

Floats = npt.NDArray[np.float64]

NAME = "learned_votes"
FACTS, WEIGHTS = "learned_votes.json", "learned_votes.safetensors"
FOLDS = 5
# Of the ridge, over rows of length 1. The ranks hardly depend on it: from 10 to 120 the AUC on
# Reddit posts changes by 0.003.
_SHRINKAGE = 30.0


@dataclass(frozen=True, eq=False)
class LearnedVotes:
    """A ridge regression from words, and perhaps an encoder's vectors, to the votes' percentile.

    Attributes:
        features: the words that it knows, and the space of the encoder's vectors.
        weights: of the regression, one a feature.
        intercept: of the regression.
        encoder: {"name", "sha256"} of the encoder; empty without one.
        report: what it learned from, and how well it does on documents it has not seen.
    """

    features: Features
    weights: Floats
    intercept: float
    encoder: Mapping[str, str]
    report: dict[str, Any]

    def score(self, texts: Sequence[str], encoder: Encoder | None = None) -> list[float]:
        """Return the expected percentile of each text's votes, near 0.5.

        Raises:
            CurationError: `encoder` is not the one that it learned with.
        """
        self._require(encoder)
        return self._score_read(read_texts(texts, encoder)).tolist() if texts else []

    def _score_read(self, texts: Texts) -> Floats:
        scores: Floats = self.features.rows(texts) @ self.weights + self.intercept
        return scores

    def _require(self, encoder: Encoder | None) -> None:
        given = _facts_of(encoder)
        if given != self.encoder:
            raise CurationError(
                f"learned_votes: learned with {_describe_encoder(self.encoder)}, but asked to "
                f"score with {_describe_encoder(given)}; give the same, or learn again with "
                "scripts/learn_votes.py"
            )


def fit(corpus: Dataset, encoder: Encoder | None = None) -> LearnedVotes:
    """Fit a scorer to a corpus's own votes (columns text, votes, community, time, conversation).

    The target is `vote_targets`'s. The report's `cross_validated` has, for the text and for length
    alone (a line in log(1 + words)), the means over five folds of: `auc_median`, upper against
    lower half; `auc_quarters`, top against bottom quarter; `spearman`. No conversation stands on
    both sides of a fold. With an encoder, `words` beside them is the text without it.

    Raises:
        CurationError: there are no votes, too few, or all are equal.
    """
    target = vote_targets(corpus)
    texts, facts = read_texts(target.texts, encoder), _facts_of(encoder)
    return _ridge(texts, target.values, facts, _report(texts, target, facts))


def save(model: LearnedVotes, folder: str | Path) -> None:
    """Write a model as JSON and safetensors; `load` gives one back with the same scores."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weighing, space = model.features
    tensors = weighing._asdict() | (space._asdict() if space else {}) | {"weights": model.weights}
    save_file(tensors, folder / WEIGHTS)
    facts = {
        "features": NUM_FEATURES,
        "encoder": dict(model.encoder),
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
        features = Features(
            Weighing(tensors["columns"], tensors["rarity"]),
            Space(tensors["middle"], tensors["spread"]) if facts["encoder"] else None,
        )
        weights, intercept = tensors["weights"], facts["intercept"]
        return LearnedVotes(features, weights, intercept, facts["encoder"], facts["report"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        check_disk(folder, error)
        raise CurationError(
            f"learned_votes: {folder}: no learned votes can be read there ({error}); store them "
            "with scripts/learn_votes.py"
        ) from error


def learned_votes(texts: list[str], context: Context) -> list[float]:
    """Return the percentile of votes expected from the run's human text, near 0.5."""
    if not texts:
        return []
    model = _fitted_once(context.human)
    context.record(NAME, model.report)
    return model.score(texts)


# The human text of a run is one object, and the same for all generations.
_fitted_once = lru_cache(maxsize=1)(fit)


# --- fitting and cross-validation -----------------------------------------------------------


def _ridge(
    texts: Texts, values: Floats, encoder: Mapping[str, str], report: dict[str, Any]
) -> LearnedVotes:
    from sklearn.linear_model import Ridge

    features = fit_features(texts)
    ridge: Any = Ridge(alpha=_SHRINKAGE, solver="lsqr").fit(features.rows(texts), values)
    return LearnedVotes(features, ridge.coef_, float(ridge.intercept_), encoder, report)


def _report(texts: Texts, target: VoteTargets, encoder: Mapping[str, str]) -> dict[str, Any]:
    lengths = log_words(target.texts)
    sides = {"text": texts} | ({"words": texts._replace(vectors=None)} if encoder else {})
    quality: dict[str, list[dict[str, float]]] = {name: [] for name in (*sides, "length")}
    for fold in range(FOLDS):
        held_out = target.groups % FOLDS == fold  # groups are numbered by hash
        learned, truth = target.values[~held_out], target.values[held_out]
        for name, side in sides.items():
            model = _ridge(side.take(~held_out), learned, {}, {})
            quality[name].append(_quality(model._score_read(side.take(held_out)), truth))
        slope = np.cov(lengths[~held_out], learned)[0, 1]  # only its sign matters for ranks
        quality["length"].append(_quality(lengths[held_out] * np.sign(slope), truth))
    figures = {
        metric: {name: _mean([fold[metric] for fold in folds]) for name, folds in quality.items()}
        for metric in quality["text"][0]
    }
    num_groups = len(np.unique(target.groups))
    return {
        "documents": len(target.texts),
        "conversations": num_groups,
        "left_out": target.left_out,
        "votes_of": "conversations" if target.whole_conversations else "documents",
        "length_regressed_out": target.whole_conversations,
        "encoder": encoder.get("name"),
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
    """Return the mean over the folds in which the value exists; None if it exists in none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def _warning(spearman: dict[str, float | None], num_groups: int) -> str:
    """Return a warning, or "" if text beats length by 2 standard errors of a null correlation."""
    text, length = (spearman[name] or 0.0 for name in ("text", "length"))
    if text > max(length, 0.0) + 2 / np.sqrt(num_groups):
        return ""
    return (
        f"learned_votes is not better than length alone: Spearman {text:.3f} against {length:.3f} "
        f"on documents it has not seen ({num_groups:,} conversations); its votes mean "
        "little"
    )


# --- the encoder ----------------------------------------------------------------------------


def _facts_of(encoder: Encoder | None) -> dict[str, str]:
    return {} if encoder is None else {"name": encoder.name, "sha256": encoder.digest}


def _describe_encoder(encoder: Mapping[str, str]) -> str:
    if not encoder:
        return "no encoder"
    return f"the encoder {encoder['name']} (SHA-256 {encoder['sha256'][:8]})"
