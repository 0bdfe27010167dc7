"""How well a score of texts predicts people's votes on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NUM_RESAMPLES = 1_000
_MOST_UNDEFINED = 0.1  # share of the resamples without a value


class Prediction(NamedTuple):
    """How a score orders the votes, with 95 % intervals over texts and raters."""

    auc: float  # probability that an upvote is on a text with a higher score than a downvote
    auc_low: float
    auc_high: float
    spearman: float  # of the score and the share of upvotes of a text
    spearman_low: float
    spearman_high: float
    num_votes: int


def predict_votes(
    score: Floats, document: Ints, rater: Ints, mark: Floats, rng: np.random.Generator
) -> Prediction | None:
    """Return how well a score predicts votes; None if all votes or scores are the same.

    The interval is that of a bootstrap over texts and raters at the same time, each drawn with
    replacement (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007): it says
    what other texts and other raters of the same kind would give. It is on the wide side.

    Args:
        score: `(documents,)`.
        document: `(votes,)`: row that each vote is on.
        rater: `(votes,)`: number of who cast it, from 0.
        mark: `(votes,)`: 1 up, 0 down, 0.5 neither.
        rng: for the intervals.
    """
    num_documents, num_raters = len(score), int(rater.max()) + 1 if len(rater) else 0
    if not len(mark) or np.ptp(mark) == 0 or np.ptp(score[document]) == 0:
        return None
    order = np.argsort(score[document], kind="stable")
    votes = _Ordered(document[order], rater[order], mark[order], score[document][order])
    resampled = []
    for _ in range(_NUM_RESAMPLES):
        documents = np.bincount(rng.integers(0, num_documents, num_documents), minlength=len(score))
        raters = np.bincount(rng.integers(0, num_raters, num_raters), minlength=num_raters)
        resampled.append(_measure(votes, documents.astype(float), raters.astype(float)))
    values = np.array(resampled)
    if np.isnan(values).any(axis=1).mean() > _MOST_UNDEFINED:
        low = high = np.full(2, np.nan)
    else:
        low, high = np.nanquantile(values, (0.025, 0.975), axis=0)
    auc, spearman = _measure(votes, np.ones(num_documents), np.ones(num_raters))
    return Prediction(
        float(auc),
        float(low[0]),
        float(high[0]),
        float(spearman),
        float(low[1]),
        float(high[1]),
        len(mark),
    )


class _Ordered(NamedTuple):
    """Votes by the score of their document, the lowest first."""

    document: Ints
    rater: Ints
    mark: Floats
    score: Floats


def _measure(votes: _Ordered, documents: Floats, raters: Floats) -> tuple[float, float]:
    """Return AUC and Spearman's correlation, each document and rater counting with its weight."""
    by_rater = raters[votes.rater]
    weight = documents[votes.document] * by_rater
    auc = _auc(votes.score, weight * votes.mark, weight * (1 - votes.mark))
    total = np.bincount(votes.document, by_rater, minlength=len(documents))
    ups = np.bincount(votes.document, by_rater * votes.mark, minlength=len(documents))
    score = np.zeros(len(documents))
    score[votes.document] = votes.score
    rows = (total > 0) & (documents > 0)
    if not rows.any():
        return np.nan, np.nan
    share = ups[rows] / total[rows]
    return auc, _spearman(score[rows], share, documents[rows])


def _auc(score: Floats, up: Floats, down: Floats) -> float:
    """Return the probability that up has the higher score; `score` ascends, ties count a half."""
    first = np.flatnonzero(np.concatenate([[True], np.diff(score) > 0]))
    ups, downs = np.add.reduceat(up, first), np.add.reduceat(down, first)
    below = np.cumsum(downs) - downs
    pairs = up.sum() * down.sum()
    return float((ups * (below + downs / 2)).sum() / pairs) if pairs > 0 else np.nan


def _spearman(first: Floats, second: Floats, weight: Floats) -> float:
    ranks = [_ranks(values, weight) for values in (first, second)]
    centred = [rank - np.average(rank, weights=weight) for rank in ranks]
    products = [(weight * centred[i] * centred[j]).sum() for i, j in ((0, 1), (0, 0), (1, 1))]
    spread = np.sqrt(products[1] * products[2])
    return float(products[0] / spread) if spread > 0 else np.nan


def _ranks(values: Floats, weight: Floats) -> Floats:
    """Return mean ranks where each value stands `weight` times."""
    _, which = np.unique(values, return_inverse=True)
    counts = np.bincount(which, weight)
    middle: Floats = np.cumsum(counts) - counts / 2
    return middle[which]
