"""From a corpus's votes to what can be learned: a percentile, free of place, age and length.

A score of 100 means another thing in a large community than in a small one, and in 2012 than in
2006. So a document is held against those of its own community and age only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.errors import CurationError
from textmad.text.documents import as_table, content_id, take
from textmad.text.hashes import Hashes, hashes_of

if TYPE_CHECKING:
    from datasets import Dataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_DOCUMENTS, MIN_GROUPS = 100, 20
MIN_COMMUNITY = 20  # documents without which a percentile says nothing
MAX_DOCUMENTS = 200_000  # more would take gigabytes and teach little more
_OF_AN_AGE = 100  # documents of a community that are compared with each other, about


class VoteTargets(NamedTuple):
    """Documents with what their votes say, in an order that is not the corpus's."""

    texts: list[str]
    values: Floats  # (documents,) in (0, 1): the share of comparable documents with fewer votes
    groups: Ints  # (documents,): which belong together, numbered by their hash
    whole_conversations: bool  # votes are ratings of conversations
    left_out: dict[str, int]


def vote_targets(corpus: Dataset) -> VoteTargets:
    """What the votes of a corpus (columns text, votes, community, time, conversation) say.

    The target is the percentile of the votes among about a hundred documents of the same
    community and of neighbouring times; of the community where a time is unknown; of all where
    there are no communities. Where all documents of a conversation have the same votes, these are
    a rating of the conversation, which mostly follows how long it is: there log(1 + words) of
    the conversation is regressed out of the target. Documents of a conversation are a group.

    Raises:
        CurationError: too few documents have votes, or all have the same.
    """
    total = len(corpus)
    voted = as_table(corpus.select_columns(["votes"]))["votes"].is_valid().to_numpy()
    if not voted.any():
        raise CurationError(
            f"learned_votes: none of the {total:,} human documents has votes: name the column "
            "that holds them in corpus.columns.votes, or use another scorer"
        )
    rows = _chosen(corpus, np.flatnonzero(voted))
    table = take(corpus, rows)
    community = np.array([name or "" for name in table["community"][:]])
    _, place, size = np.unique(community, return_inverse=True, return_counts=True)
    large = size[place] >= MIN_COMMUNITY
    left_out = {
        "without votes": int(total - voted.sum()),
        f"beyond {MAX_DOCUMENTS:,}": int(voted.sum() - len(rows)),
        f"in communities of fewer than {MIN_COMMUNITY}": int((~large).sum()),
    }
    table, place = take(table, np.flatnonzero(large)), place[large]
    _, groups = np.unique(_keys(table), return_inverse=True)
    _check_enough(len(table), len(np.unique(groups)), left_out)
    texts: list[str] = table["text"][:]
    votes = np.array(table["votes"][:], dtype=np.float64)
    values = _percentiles(votes, place, np.array(table["time"][:], dtype=np.float64))
    whole = _are_whole(groups, votes)
    if whole:
        values = _percentile(_without_length(values, texts, groups))
    if np.ptp(values) == 0:
        raise CurationError(
            f"learned_votes: the votes of all {len(texts):,} human documents that have any are "
            "equal within their communities, so there is nothing to learn; use another scorer"
        )
    return VoteTargets(texts, values, groups, whole, left_out)


def _chosen(corpus: Dataset, rows: Ints) -> Ints:
    """At most `MAX_DOCUMENTS`, whole conversations first, in the order of their hashes."""
    known = take(corpus.select_columns(["id", "conversation"]), rows)
    ids = np.array(known["id"][:], dtype=str)
    order = np.lexsort((ids, _keys(known)))[:MAX_DOCUMENTS]
    chosen: Ints = rows[order]
    return chosen


def _keys(corpus: Dataset) -> Hashes:
    """A hash of what each document belongs to: its conversation, or itself."""
    names = zip(corpus["conversation"][:], corpus["id"][:], strict=True)
    return hashes_of(content_id(conversation or name) for conversation, name in names)


def _check_enough(num_documents: int, num_groups: int, left_out: dict[str, int]) -> None:
    if num_documents < MIN_DOCUMENTS or num_groups < MIN_GROUPS:
        others = ", ".join(f"{count:,} {why}" for why, count in left_out.items() if count)
        raise CurationError(
            f"learned_votes: only {num_documents:,} human documents in {num_groups:,} "
            f"conversations have votes to learn from, expected {MIN_DOCUMENTS} in {MIN_GROUPS} at "
            f"least (left out: {others or 'none'}); give more text, or use another scorer"
        )


def _percentiles(votes: Floats, community: Ints, time: Floats) -> Floats:
    """Percentiles inside community and age."""
    values = np.empty(len(votes))
    by_age = np.lexsort((time, community))  # unknown times last
    for members in np.split(by_age, np.flatnonzero(np.diff(community[by_age])) + 1):
        ages = 1 if np.isnan(time[members]).any() else max(1, len(members) // _OF_AN_AGE)
        for comparable in np.array_split(members, ages):
            values[comparable] = _percentile(votes[comparable])
    return values


def _percentile(values: Floats) -> Floats:
    """The share of values below each, half of its equals included, in (0, 1)."""
    from scipy.stats import rankdata

    ranks: Floats = (rankdata(values) - 0.5) / len(values)
    return ranks


def _are_whole(groups: Ints, votes: Floats) -> bool:
    """Whether most documents share a group, and no group has two different votes."""
    order = np.lexsort((votes, groups))
    neighbours = np.diff(groups[order]) == 0
    differ = bool((np.diff(votes[order])[neighbours] != 0).any())
    return not differ and bool((np.bincount(groups)[groups] > 1).mean() > 0.5)


def _without_length(values: Floats, texts: list[str], groups: Ints) -> Floats:
    """Values less what the length of a document's group explains, each group counting once."""
    num = groups.max() + 1
    together: list[list[str]] = [[] for _ in range(num)]
    for text, group in zip(texts, groups, strict=True):
        together[group].append(text)
    mean = np.bincount(groups, values) / np.bincount(groups)
    left = length_regressed_out(mean.tolist(), [" ".join(parts) for parts in together])
    # Documents of a group differ by age alone, which stays.
    residual: Floats = values + (left - mean)[groups]
    return residual


# --- length taken out -----------------------------------------------------------------------


def log_words(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """log(1 + words) of each text, `(texts,)`."""
    lengths: npt.NDArray[np.float64] = np.log1p([len(text.split()) for text in texts])
    return lengths


def length_regressed_out(values: Sequence[float], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """What is left of `values` once log(1 + words) has explained what it can (least squares).

    What a crowd likes beyond long, or short, texts: length alone explains much of most votes.

    >>> length_regressed_out([1.0, 3.0, 10.0, 20.0], ["a", "b", "a b", "b c"]).round(9).tolist()
    [-1.0, 1.0, -5.0, 5.0]
    """
    length = log_words(texts)
    score = np.asarray(values, dtype=np.float64)
    if not len(score):
        return score
    length, score = length - length.mean(), score - score.mean()
    spread = float(length @ length)
    slope = float(length @ score) / spread if spread else 0.0
    residual: npt.NDArray[np.float64] = score - slope * length
    return residual
