"""Training targets from a corpus's votes: percentiles within community and time, without length.

A score of 100 means more in a small community than in a large one, and less in 2012 than in 2006.
So a document is compared only with documents of its own community and of neighbouring times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.errors import CurationError
from textmad.text.documents import as_table, content_id, take
from textmad.text.hashes import Hashes, hashes_of
from textmad.text.words import length_in_words

if TYPE_CHECKING:
    from datasets import Dataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_DOCUMENTS, MIN_GROUPS = 100, 20
MIN_COMMUNITY = 20  # documents without which a percentile says nothing
MAX_DOCUMENTS = 200_000  # more would take gigabytes and teach little more
_OF_AN_AGE = 100  # documents of a community that are compared with each other, about


class VoteTargets(NamedTuple):
    """Documents with their targets, in the order of hashes of their conversations."""

    texts: list[str]
    values: Floats  # (documents,) in (0, 1): the share of comparable documents with fewer votes
    groups: Ints  # (documents,): which belong together, numbered by their hash
    whole_conversations: bool  # votes are ratings of conversations
    left_out: dict[str, int]


def vote_targets(corpus: Dataset) -> VoteTargets:
    """Return the targets of a corpus (columns text, votes, community, time, conversation).

    The target is the percentile of the votes among about a hundred documents of the same
    community and of neighbouring times; of the community where a time is unknown; of all where
    there are no communities. Where all documents of a conversation have the same votes, these are
    a rating of the conversation, which mostly follows how long it is: there log(1 + words) of
    the conversation is regressed out of the target. Documents of a conversation are a group.

    Raises:
        CurationError: too few documents have votes, or all have the same.
    """
    total = len(corpus)
    has_votes = as_table(corpus.select_columns(["votes"]))["votes"].is_valid().to_numpy()
    if not has_votes.any():
        raise CurationError(
            f"learned_votes: none of the {total:,} human documents has votes: name the column "
            "that holds them in corpus.columns.votes, or use another scorer"
        )
    rows = _choose_rows(corpus, np.flatnonzero(has_votes))
    table = take(corpus, rows)
    community = np.array([name or "" for name in table["community"][:]])
    _, community_number, size = np.unique(community, return_inverse=True, return_counts=True)
    large = size[community_number] >= MIN_COMMUNITY
    left_out = {
        "without votes": int(total - has_votes.sum()),
        f"beyond {MAX_DOCUMENTS:,}": int(has_votes.sum() - len(rows)),
        f"in communities of fewer than {MIN_COMMUNITY}": int((~large).sum()),
    }
    table, community_number = take(table, np.flatnonzero(large)), community_number[large]
    _, groups = np.unique(_keys(table), return_inverse=True)
    _check_enough(len(table), len(np.unique(groups)), left_out)
    texts: list[str] = table["text"][:]
    votes = np.array(table["votes"][:], dtype=np.float64)
    values = _percentiles(votes, community_number, np.array(table["time"][:], dtype=np.float64))
    whole_conversations = _rate_conversations(groups, votes)
    if whole_conversations:
        values = _percentile(_without_length(values, texts, groups))
    if np.ptp(values) == 0:
        raise CurationError(
            f"learned_votes: the votes of all {len(texts):,} human documents that have any are "
            "equal within their communities, so there is nothing to learn; use another scorer"
        )
    return VoteTargets(texts, values, groups, whole_conversations, left_out)


def _choose_rows(corpus: Dataset, rows: Ints) -> Ints:
    """Choose at most `MAX_DOCUMENTS` rows, in the order of their conversations' hashes."""
    known = take(corpus.select_columns(["id", "conversation"]), rows)
    ids = np.array(known["id"][:], dtype=str)
    order = np.lexsort((ids, _keys(known)))[:MAX_DOCUMENTS]
    first: Ints = rows[order]
    return first


def _keys(corpus: Dataset) -> Hashes:
    """Return a hash of each document's conversation, or of its id if it has none."""
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
    """Return percentiles within community and neighbouring times."""
    values = np.empty(len(votes))
    by_age = np.lexsort((time, community))  # unknown times last
    for members in np.split(by_age, np.flatnonzero(np.diff(community[by_age])) + 1):
        ages = 1 if np.isnan(time[members]).any() else max(1, len(members) // _OF_AN_AGE)
        for comparable in np.array_split(members, ages):
            values[comparable] = _percentile(votes[comparable])
    return values


def _percentile(values: Floats) -> Floats:
    """Return the share of values below each, plus half of the equal ones, in (0, 1)."""
    from scipy.stats import rankdata

    ranks: Floats = (rankdata(values) - 0.5) / len(values)
    return ranks


def _rate_conversations(groups: Ints, votes: Floats) -> bool:
    """Return whether votes rate whole conversations.

    That is so if most documents share a group, and no group has two different votes.
    """
    order = np.lexsort((votes, groups))
    neighbours = np.diff(groups[order]) == 0
    differ = bool((np.diff(votes[order])[neighbours] != 0).any())
    return not differ and bool((np.bincount(groups)[groups] > 1).mean() > 0.5)


def _without_length(values: Floats, texts: list[str], groups: Ints) -> Floats:
    """Return values without what the length of a group explains; each group counts once."""
    num = groups.max() + 1
    together: list[list[str]] = [[] for _ in range(num)]
    for text, group in zip(texts, groups, strict=True):
        together[group].append(text)
    mean = np.bincount(groups, values) / np.bincount(groups)
    residuals = length_regressed_out(mean.tolist(), [" ".join(parts) for parts in together])
    # Within a group, values differ only by time; that difference stays.
    residual: Floats = values + (residuals - mean)[groups]
    return residual


# --- length regressed out -------------------------------------------------------------------


def log_words(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """log(1 + words) of each text, `(texts,)`."""
    lengths: npt.NDArray[np.float64] = np.log1p(list(map(length_in_words, texts)))
    return lengths


def length_regressed_out(values: Sequence[float], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the residuals of `values` regressed on log(1 + words) by least squares.

    Length alone explains much of most votes; this is what a crowd likes apart from it.

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
