"""From votes to a rank by a named rule, and from a rank to the documents that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from textmad.curation.crowd import Counts
from textmad.curation.document_rng import Floats
from textmad.curation.voters import Bools

Rule = Literal["net", "share", "wilson", "hot", "likes", "quality"]

_REDDIT_Z = 1.281551565545  # standard normal quantile of 0.9
_REDDIT_SECONDS = 45_000  # of age that a tenfold score makes up for


def rank_score(
    rule: Rule, ups: Counts, downs: Counts, *, voters: int, posted: Floats, quality: Floats
) -> Floats:
    """Return what documents are ranked by, `(documents,)`; higher is better.

    net: (ups - downs) / voters, in [-1, 1]. share: ups / (ups + downs), 0 without votes.
    wilson: `wilson`, Reddit's "best". hot: `hot`, Reddit's default. likes: ups / voters, as on
    sites without downvotes. quality: the latent quality itself, without the votes.

    Args:
        rule: its name.
        ups: votes up.
        downs: votes down.
        voters: of the whole crowd.
        posted: when, in seconds.
        quality: in the scorer's unit or standardised.
    """
    scores: Floats
    match rule:
        case "net":
            scores = (ups - downs) / voters
        case "share":
            scores = ups / np.maximum(ups + downs, 1)
        case "wilson":
            scores = wilson(ups, downs)
        case "hot":
            scores = hot(ups - downs, posted)
        case "likes":
            scores = ups / voters
        case "quality":
            scores = quality
    return scores


def wilson(ups: Counts, downs: Counts, z: float = _REDDIT_Z) -> Floats:
    """Return a lower bound of the true share of upvotes, `(documents,)`; 0 without votes.

    (p + z²/2n - z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). Source: Wilson, "Probable inference",
    JASA 22 (1927); as Reddit's "best" (r2/lib/db/_sorts.pyx, with this z).

    >>> wilson(np.array([1, 10]), np.array([0, 0])).round(3).tolist()
    [0.378, 0.859]
    """
    n = np.maximum(ups + downs, 1)
    p = ups / n
    centre = p + z * z / (2 * n)
    margin = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    bound: Floats = np.where(ups + downs > 0, (centre - margin) / (1 + z * z / n), 0.0)
    return bound


def hot(net: Counts, posted: Floats) -> Floats:
    """Return Reddit's "hot" score: sign(net) log10(max(|net|, 1)) + posted / 45000.

    `posted` is in seconds. Later documents rank higher, and 12.5 hours weigh as much as a
    tenfold score. Source: r2/lib/db/_sorts.pyx, where time counts from 8 December 2005; the
    start changes no rank.

    >>> hot(np.array([100, 10]), np.array([0.0, 45000.0])).tolist()  # ten times fewer, 12.5 h later
    [2.0, 2.0]
    """
    scores: Floats = np.sign(net) * np.log10(np.maximum(np.abs(net), 1)) + posted / _REDDIT_SECONDS
    return scores


@dataclass(frozen=True)
class Choice:
    """Which documents are kept, given what they are ranked by.

    Attributes:
        by: `top`: the highest-ranked share `keep`. `threshold`: all from `threshold` upwards.
            `softmax`: a share `keep`, drawn one after another with probability proportional to
            exp(score / temperature). `bradley_terry`: the documents meet in random groups of
            1 / keep, and each group keeps one, with the same probability among its members.
        temperature: in the unit of the score, above 0; towards 0 the best are chosen.
        threshold: in the unit of the score.
    """

    by: Literal["top", "threshold", "softmax", "bradley_terry"] = "top"
    temperature: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature: {self.temperature:g}: expected a finite number above 0")
        if not np.isfinite(self.threshold):
            raise ValueError(f"threshold: {self.threshold:g}: expected a finite number")
        if self.temperature != 1 and self.by in ("top", "threshold"):
            raise ValueError(
                f"temperature: {self.temperature:g}: has no effect while by is {self.by}; set "
                "by: softmax or bradley_terry, or delete it"
            )
        if self.threshold != 0 and self.by != "threshold":
            raise ValueError(
                f"threshold: {self.threshold:g}: has no effect while by is {self.by}; set "
                "by: threshold, or delete it"
            )


def choose(
    choice: Choice,
    score: Floats,
    best_first: npt.NDArray[np.int64],
    keep: float,
    draws: list[Floats],
) -> Bools:
    """Choose which documents are kept, `(documents,)`.

    Args:
        choice: the settings.
        score: what they are ranked by.
        best_first: the documents' indices, the best first; it orders equal scores.
        keep: share of the documents that is kept, exactly round(keep * documents) of them.
        draws: two uniform numbers in (0, 1) a document.
    """
    num_kept = round(keep * len(score))
    kept = np.zeros(len(score), dtype=bool)
    match choice.by:
        case "top":
            kept[best_first[:num_kept]] = True
        case "threshold":
            kept = score >= choice.threshold
        case "softmax":
            noisy = add_gumbel_noise(score, choice.temperature, draws[0])
            kept[np.argsort(-noisy, kind="stable")[:num_kept]] = True
        case "bradley_terry":
            noisy = add_gumbel_noise(score, choice.temperature, draws[0])
            kept = best_of_each(noisy, random_groups(draws[1], num_kept)) if num_kept else kept
    return kept


def random_groups(draws: Floats, num_groups: int) -> npt.NDArray[np.int64]:
    """Return each document's group, `(documents,)`; the groups' sizes differ by at most one.

    >>> random_groups(np.array([0.3, 0.9, 0.1]), 2).tolist()
    [1, 0, 0]
    """
    group = np.empty(len(draws), dtype=np.int64)
    group[np.argsort(draws, kind="stable")] = np.arange(len(draws)) % max(num_groups, 1)
    return group


def add_gumbel_noise(score: Floats, temperature: float, draws: Floats) -> Floats:
    """Return scores with Gumbel noise: i is the highest with probability softmax(score / T)_i.

    score - T log(-log u) (Luce's choice axiom; Yellott, "The relationship between
    Luce's choice axiom...", J. Math. Psych. 15, 1977). For two documents it is Bradley and
    Terry's model (Biometrika 39, 1952), for K the choice of Ferbach et al. (2407.09499, equation
    1), and the n best are a draw of n without replacement (Plackett-Luce; Kool et al.,
    1903.06059).
    """
    if temperature == 0:
        return score
    return score - temperature * np.log(-np.log(draws))


def best_of_each(score: Floats, group: npt.NDArray[np.int64]) -> Bools:
    """Return whether each document has its group's highest score; the first of equal ones has.

    >>> best_of_each(np.array([1.0, 3.0, 2.0]), np.array([0, 0, 1])).tolist()
    [False, True, True]
    """
    order = np.lexsort((-score, group))
    first = np.ones(len(group), dtype=bool)
    first[1:] = np.diff(group[order]) != 0
    best = np.zeros(len(group), dtype=bool)
    best[order[first]] = True
    return best
