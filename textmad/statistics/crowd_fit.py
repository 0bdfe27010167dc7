"""The settings of a simulated crowd that make people's votes likeliest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Errors = Literal["logistic", "gumbel"]

_NUM_NODES = 21  # of Gauss and Hermite's rule for the raters' thresholds
_NUM_LEGENDRE = 64  # nodes for the error of the chosen document: choices to 1e-5
_NUM_SAMPLES = 4_000  # of the estimate's normal distribution: the intervals' ends move by 2 %
_LARGEST = 30.0  # of noise and thresholds, in standard deviations of quality: votes at random


class Range(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class CrowdFit(NamedTuple):
    """Settings of a crowd: see textmad.curation.voters.Crowd and the filter upvotes."""

    weights: tuple[Range, ...]  # of the scorers, of absolute sum 1
    noise: Range
    strictness: Range | None  # None: comparisons do not tell it
    strictness_spread: Range | None
    log_likelihood: float
    num_votes: int


def fit_crowd(
    scorer_values: Floats,
    group: Ints,
    document: Ints,
    rater: Ints,
    is_up: Bools,
    rng: np.random.Generator,
) -> CrowdFit:
    """Return the crowd under which the votes are likeliest.

    A voter r votes a document of quality q up with probability 1 / (1 + exp(-(q - t_r) / noise)),
    as in the filter `upvotes`. Their thresholds t_r are normal with mean `strictness` and standard
    deviation `strictness_spread`. Quality is the weighted sum of the scorers, standardised in each
    group of candidates as are the scorers. The thresholds are integrated out by Gauss and Hermite's
    rule (random-intercept logistic regression: Agresti, "Categorical Data Analysis", 2nd ed. 2002,
    section 12.1). The intervals are those of a normal estimate with the inverse observed
    information as its covariance.

    Args:
        scorer_values: `(documents, scorers)`: of all candidates.
        group: `(documents,)`: generation of each, from 0; quality is standardised within it.
        document: `(votes,)`: row that each vote is on.
        rater: `(votes,)`: number of who cast it, from 0.
        is_up: `(votes,)`: whether it is an upvote.
        rng: for the intervals.

    Raises:
        ValueError: fewer than two values of a scorer, or all votes are the same.
    """
    if is_up.all() or not is_up.any():
        raise ValueError("all votes are the same, so they tell nothing about a crowd")
    values = _standardised(scorer_values, group)
    _check_values(values)
    order = np.argsort(rater, kind="stable")
    first = np.flatnonzero(np.diff(rater[order], prepend=-1))
    sign = np.where(is_up, 1.0, -1.0)[order]
    votes = _Votes(values, group, document[order], first, sign)
    start = np.concatenate([np.full(values.shape[1], 0.1), [0.0, 0.5]])
    (*weights, noise, strictness, spread), likelihood = _likeliest(
        partial(_loss, votes=votes), partial(_settings, values=values, group=group), start, rng
    )
    return CrowdFit(tuple(weights), noise, strictness, spread, likelihood, len(is_up))


def fit_choices(
    scorer_values: Floats,
    group: Ints,
    chosen: Ints,
    others: Ints,
    rng: np.random.Generator,
    *,
    errors: Errors = "logistic",
) -> CrowdFit:
    """Return the crowd under which choices among a few documents are likeliest.

    A voter perceives each document with an error of its own, of the scale `noise`, and chooses the
    best. With logistic errors these are the voters of the filter `upvotes`, who compare instead of
    holding documents against their strictness: strictness cancels, and is None here. With Gumbel's
    they are the author of the filter `author`, who chooses i of a group with probability
    exp(q_i / noise) / sum_j exp(q_j / noise) (conditional logit: McFadden, "Conditional Logit
    Analysis of Qualitative Choice Behavior", 1974). For logistic errors the probability is
    the integral over the chosen document's error, by Gauss and Legendre's rule. Quality and
    intervals are those of `fit_crowd`.

    Args:
        scorer_values: `(documents, scorers)`: of all candidates.
        group: `(documents,)`: generation of each, from 0; quality is standardised within it.
        chosen: `(votes,)`: row of the chosen document.
        others: `(votes, most)`: rows of the documents beside it; -1 where there are fewer.
        rng: for the intervals.
        errors: of the voters.

    Raises:
        ValueError: there are no votes, or fewer than two values of a scorer.
    """
    if not len(chosen):
        raise ValueError("there are no votes, so nothing is known about a crowd")
    values = _standardised(scorer_values, group)
    _check_values(values)
    log_probability = _log_best_logistic if errors == "logistic" else _log_best_gumbel

    def loss(parameters: Floats) -> float:
        quality, slope = _quality(parameters, values, group)
        lead = slope * (quality[chosen][:, None] - quality[others])
        return -float(log_probability(np.where(others < 0, np.inf, lead)).sum())

    def settings(parameters: Floats) -> list[float]:
        return _weights_and_noise(parameters, _quality(parameters, values, group)[1])

    start = np.full(values.shape[1], 0.1)
    (*weights, noise), likelihood = _likeliest(loss, settings, start, rng)
    return CrowdFit(tuple(weights), noise, None, None, likelihood, len(chosen))


def _log_best_gumbel(lead: Floats) -> Floats:
    """Return the log-probability of each choice, given its leads `(votes, others)`."""
    found: Floats = -np.log1p(np.exp(-lead).sum(axis=1))
    return found


def _log_best_logistic(lead: Floats) -> Floats:
    """Return the same for logistic errors: the mean, over its own, that no other is higher."""
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_LEGENDRE)
    share = (nodes + 1) / 2  # of the errors below the chosen document's own
    own = np.log(share / (1 - share))
    log_below = -np.logaddexp(0.0, -(lead[:, :, None] + own)).sum(axis=1)  # (votes, nodes)
    highest = log_below.max(axis=1, keepdims=True)
    found: Floats = np.log(np.exp(log_below - highest) @ (weights / 2)) + highest[:, 0]
    return found


def _likeliest(
    loss: Callable[[Floats], float],
    settings: Callable[[Floats], list[float]],
    start: Floats,
    rng: np.random.Generator,
) -> tuple[list[Range], float]:
    """Return the settings of the smallest loss with their intervals, and the log-likelihood."""
    from scipy.optimize import minimize

    found = minimize(loss, start, method="BFGS")
    covariance = _inverse(_hessian(found.x, loss))
    samples = rng.multivariate_normal(found.x, covariance, _NUM_SAMPLES, method="eigh")
    estimate = settings(found.x)
    low, high = np.quantile([settings(each) for each in samples], (0.025, 0.975), axis=0)
    ranges = [Range(*map(float, each)) for each in zip(estimate, low, high, strict=True)]
    return ranges, -float(found.fun)


def _check_values(values: Floats) -> None:
    for column in range(values.shape[1]):
        if not values[:, column].any():
            raise ValueError(f"scorer {column + 1}: gives all documents the same value")


class _Votes(NamedTuple):
    """Votes, sorted by their rater."""

    values: Floats
    group: Ints
    document: Ints
    first: Ints  # (raters,): index of each rater's first vote
    sign: Floats  # 1 up, -1 down


def _quality(weights: Floats, values: Floats, group: Ints) -> tuple[Floats, float]:
    """Return quality `(documents,)`, standardised in each group, and the scale it had before."""
    raw = values @ weights
    counts = np.bincount(group)
    # The scorers have mean 0 in each group, so their sum has too.
    scales = np.sqrt(np.bincount(group, raw**2) / np.maximum(counts, 1))
    quality: Floats = raw / np.maximum(scales, 1e-12)[group]
    return quality, float(scales[counts > 0].mean())


def _loss(parameters: Floats, votes: _Votes) -> float:
    """Return the negative log-likelihood.

    Parameters: the weights times the slope (1 / noise), the intercept (-strictness / noise), the
    spread of the intercepts (its sign means nothing).
    """
    *weights, intercept, spread = parameters
    quality, slope = _quality(np.array(weights), votes.values, votes.group)
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(_NUM_NODES)
    logits = (slope * quality)[votes.document] + intercept
    each = -np.logaddexp(0.0, -votes.sign[:, None] * (logits[:, None] + spread * nodes))
    by_rater = np.add.reduceat(each, votes.first)
    highest = by_rater.max(axis=1, keepdims=True)
    share = np.exp(by_rater - highest) @ (node_weights / node_weights.sum())
    return -float((np.log(share) + highest[:, 0]).sum())


def _settings(parameters: Floats, values: Floats, group: Ints) -> list[float]:
    """Return weights, noise, strictness and its spread."""
    *weights, intercept, spread = parameters
    *weights, noise = _weights_and_noise(
        np.array(weights), _quality(np.array(weights), values, group)[1]
    )
    strictness = float(np.clip(-intercept * noise, -_LARGEST, _LARGEST))
    return [*weights, noise, strictness, min(abs(float(spread)) * noise, _LARGEST)]


def _weights_and_noise(weights: Floats, slope: float) -> list[float]:
    """Return the weights, of absolute sum 1, and the noise that a slope stands for."""
    total = float(np.abs(weights).sum()) or 1.0
    return [*(float(weight) / total for weight in weights), min(1 / max(slope, 1e-12), _LARGEST)]


def _hessian(at: Floats, loss: Callable[[Floats], float], step: float = 1e-3) -> Floats:
    """Return the second derivatives of the loss, by central differences."""
    num = len(at)
    found = np.zeros((num, num))
    steps = np.eye(num) * step
    for i in range(num):
        for j in range(i, num):
            corners = [
                sign_i * sign_j * loss(at + sign_i * steps[i] + sign_j * steps[j])
                for sign_i in (1, -1)
                for sign_j in (1, -1)
            ]
            found[i, j] = found[j, i] = sum(corners) / (4 * step * step)
    return found


def _inverse(hessian: Floats) -> Floats:
    """Return the inverse; where the likelihood is flat, a variance of 100 in that direction."""
    values, vectors = np.linalg.eigh(hessian)
    inverse: Floats = (vectors / np.maximum(values, 0.01)) @ vectors.T
    return inverse


def _standardised(values: Floats, group: Ints) -> Floats:
    """Return each column with mean 0 and variance 1 in each group; zeros where all are equal."""
    found = np.zeros_like(values)
    for number in np.unique(group):
        rows = group == number
        centred = values[rows] - values[rows].mean(axis=0)
        scale = centred.std(axis=0)
        found[rows] = np.divide(
            centred, scale, out=np.zeros_like(centred), where=np.ptp(values[rows], axis=0) > 0
        )
    return found
