"""The filter `rescue`: keeps documents with words that are rare in human text."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.controls import check_kept_share
from textmad.curation.document_rng import Floats, document_uniforms
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.ranking import Choice, choose
from textmad.errors import CurationError
from textmad.text.documents import texts_of, token_counts
from textmad.text.rarity import frequency_bins
from textmad.text.words import Vocabulary, code_words, type_counts

if TYPE_CHECKING:
    from datasets import Dataset

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rescue:
    """Keep the documents that hold what is rare in human text, or that a model draws too seldom.

    Rare are the word types that make up the rarest tenth of the human training pool (the first
    of `textmad.text.rarity`'s bins); words that do not occur there are not among them. Exactly
    `round(keep * documents)` are kept. The table gets `rare_types`, how many each document holds.

    Attributes:
        by: `coverage`: documents are taken one after another (`greedy_cover`), each for the rare
            words that it adds to those taken before, per token, or long ones would be preferred
            for their length. A type counts as often as human text of the kept size would hold
            it, and at least once. The score is what a document added. Equals are taken in a
            random order, so once the tail is covered, the rest is kept at random.
            `weight`: documents are drawn one after another, with probability proportional to
            `importance`, which is the score (importance resampling, Xie et al., 2302.03169).
        keep: share of the documents, above 0 and at most 1.
    """

    by: Literal["coverage", "weight"] = "coverage"
    keep: float = 0.5

    def __post_init__(self) -> None:
        check_kept_share(self.keep)

    @property
    def kept_share(self) -> float:
        """Of the documents."""
        return self.keep

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        bags, human = _counted(candidates, context.human)
        rare = bags.only((frequency_bins(human) == 0) & (human > 0))
        (draws,) = document_uniforms(candidates["id"][:], context.rng, 1)
        if self.by == "coverage":
            num_words = self.keep * bags.counts.sum()
            ceilings = np.maximum(human / human.sum() * num_words, 1)
            costs = np.maximum(token_counts(candidates), 1)  # 0: unknown
            keep, score = greedy_cover(rare, ceilings, costs, draws, round(self.keep * len(draws)))
            reason = f"not among the {self.keep:.4g} that cover the human tail"
        else:
            score = importance(bags, human, len(draws))
            log_weight = np.log(np.maximum(score, np.finfo(np.float64).tiny))
            best_first = np.argsort(-score, kind="stable")
            keep = choose(Choice("softmax"), log_weight, best_first, self.keep, [draws])
            reason = f"not among the {self.keep:.4g} drawn by weight"
        num_rare = np.bincount(rare.documents, minlength=len(draws))
        return Verdicts(keep, score, reason, {"rare_types": num_rare})


def importance(bags: Bags, human: Counts, num_documents: int) -> Floats:
    """How much more often humans use a document's words than its generation does, `(documents,)`.

    The mean over its words of p(word) / q(word), with p from human text and q from all other
    candidates: a document that counted itself would make its own rare words look common. A ratio
    is at most sqrt(candidates' words), which is also that of a human word no other candidate
    has (truncated importance sampling, Ionides, J. Comput. Graph. Stat. 17, 2008). Xie et al.
    multiply over hashed n-grams instead: here length would decide, and a rare word could share a
    hash with common ones. 0 without human words.

    Args:
        bags: of all the candidates' words.
        human: how often each type occurs in human text, `(types,)`.
        num_documents: candidates.

    >>> bags = Bags(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([1, 1, 2]))
    >>> importance(bags, np.array([8, 2]), 2).tolist()  # (0.8 / 1 + sqrt(4)) / 2, 0.8 / 0.5
    [1.4, 1.6]
    """
    drawn = np.bincount(bags.types, bags.counts, len(human))
    lengths = np.bincount(bags.documents, bags.counts, num_documents)
    elsewhere = drawn[bags.types] - bags.counts
    # How often human text of the others' size would hold the word.
    expected = human[bags.types] / human.sum() * (lengths.sum() - lengths[bags.documents])
    max_ratio = np.sqrt(lengths.sum())
    ratios = np.minimum(expected / np.maximum(elsewhere, 1), max_ratio)
    ratios[elsewhere == 0] = max_ratio
    ratios[human[bags.types] == 0] = 0
    sums = np.bincount(bags.documents, bags.counts * ratios, num_documents)
    weights: Floats = sums / np.maximum(lengths, 1)
    return weights


def _counted(candidates: Dataset, human: Dataset) -> tuple[Bags, Counts]:
    """The words of each candidate, and how often each type occurs in human text, `(types,)`.

    Raises:
        CurationError: human text has no words.
    """
    vocabulary = Vocabulary()
    in_human = type_counts(texts_of(human), vocabulary)
    if not in_human.any():
        raise CurationError("the human training pool has no words, so nothing in it is rare")
    words = code_words(texts_of(candidates), vocabulary=vocabulary)
    num_types = vocabulary.num_types
    keys = words.documents * np.int64(num_types) + words.codes
    rows, counts = np.unique(keys, return_counts=True)
    documents, types = np.divmod(rows, num_types)
    return Bags(documents, types, counts), np.pad(in_human, (0, num_types - len(in_human)))


# --- documents chosen as a set --------------------------------------------------------------


class Bags(NamedTuple):
    """Which types documents hold, and how often: a row for each type of each document."""

    documents: npt.NDArray[np.int64]  # (rows,) which document, ascending
    types: npt.NDArray[np.int64]  # (rows,) ascending in each document
    counts: npt.NDArray[np.int64]  # (rows,) at least 1

    def only(self, wanted: npt.NDArray[np.bool_]) -> Bags:
        """Return the rows whose type is wanted, `(types,)`."""
        rows = wanted[self.types]
        return Bags(self.documents[rows], self.types[rows], self.counts[rows])


class Cover(NamedTuple):
    """A chosen set of documents, and what each of them adds to it."""

    chosen: npt.NDArray[np.bool_]  # (documents,)
    gains: Floats  # (documents,) per cost: when chosen, or to the whole set where it was not


def greedy_cover(
    bags: Bags, ceilings: Floats, costs: npt.NDArray[np.int64], ties: Floats, num_chosen: int
) -> Cover:
    """Documents for which the types' counts, each up to its ceiling, sum to as much as they can.

    One after the other, the document is chosen that adds most per cost. What a document adds only
    shrinks as others are chosen (the sum is submodular), so for the documents chosen, of cost B
    together, the sum is at least 1 - 1/e = 0.63 of what any documents of cost B could reach
    (Nemhauser, Wolsey and Fisher, Math. Programming 14, 1978; per cost: Sviridenko, Oper. Res.
    Letters 32, 2004). For the same reason gains that were computed earlier are upper bounds, and
    most need not be computed again: the lazy greedy algorithm (Minoux, LNCIS 7, 1978).

    Args:
        bags: of the types that matter.
        ceilings: for each type, up to which count it matters.
        costs: of the documents, at least 1.
        ties: for each document; the lower one goes first where gains are equal.
        num_chosen: at most as many as there are documents.

    >>> bags = Bags(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), np.array([2, 1, 1, 1]))
    >>> greedy_cover(bags, np.ones(2), np.ones(3, int), np.arange(3.0), 2).chosen.tolist()
    [True, True, False]
    """
    room = ceilings.astype(np.float64)  # what is left of them
    starts = np.searchsorted(bags.documents, np.arange(len(costs) + 1)).tolist()
    held = [slice(start, stop) for start, stop in pairwise(starts)]

    def gain(row: int) -> float:
        types, counts = bags.types[held[row]], bags.counts[held[row]]
        return float(np.minimum(counts, room[types]).sum() / costs[row])

    gains = np.array([gain(row) for row in range(len(costs))], dtype=np.float64)
    queue = list(zip((-gains).tolist(), ties.tolist(), range(len(costs)), strict=True))
    heapq.heapify(queue)
    chosen = np.zeros(len(costs), dtype=bool)
    left = num_chosen
    while left:
        _, tie, row = heapq.heappop(queue)
        entry = (-gain(row), tie, row)
        if queue and entry > queue[0]:  # another may add more by now
            heapq.heappush(queue, entry)
            continue
        chosen[row], gains[row] = True, -entry[0]
        types, counts = bags.types[held[row]], bags.counts[held[row]]
        room[types] = np.maximum(room[types] - counts, 0)
        left -= 1
    for row in np.flatnonzero(~chosen).tolist():
        gains[row] = gain(row)
    return Cover(chosen, gains)
