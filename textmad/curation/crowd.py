"""A crowd that is shown documents and votes on them: numbers in, votes out, nothing but numpy.

A voter perceives a document's quality through their own taste and with their own noise, and votes
it up at or above their own threshold, down below it. What makes crowds differ from that judge is
in `textmad.curation.voters`.

Every random number belongs to a document (`textmad.curation.document_rng`) or to a voter, each
purpose has its own stream, and each voter the same position in it. So a vote depends neither on the
order of the documents nor on a setting of another kind: with twice as many bots, people vote as
before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.document_rng import Floats, Starts, document_starts, other_starts, uniforms
from textmad.curation.voters import Bools, Electorate, Exposure, Voters, sample_voters, weighted_sum

Counts = npt.NDArray[np.int64]

_CHUNK = 8192  # documents at once: bounds the memory, not the result


class Votes(NamedTuple):
    """What came of it, one entry a document."""

    ups: Counts
    downs: Counts
    exposure: Counts  # voters it was shown to
    perceived: Floats  # summed over those who judged it

    @classmethod
    def none(cls, num_documents: int) -> Votes:
        """No votes yet."""
        ups, downs, exposure = (np.zeros(num_documents, dtype=np.int64) for _ in range(3))
        return cls(ups, downs, exposure, np.zeros(num_documents))

    def on(self, here: slice) -> Votes:
        """Those on some documents; what is added to them is added to all."""
        return Votes(self.ups[here], self.downs[here], self.exposure[here], self.perceived[here])


def voted(
    ids: Sequence[str],
    tastes: Floats,
    targets: Bools,
    electorate: Electorate,
    rank: Callable[[Counts, Counts], Floats],
    rng: np.random.Generator,
) -> Votes:
    """The crowd's votes.

    Args:
        ids: of the documents, sorted, so that equal ranks do not depend on their order.
        tastes: `(documents, scorers)`: what each scorer finds.
        targets: which documents the bots vote on.
        electorate: who votes.
        rank: from ups and downs so far to the score by which documents are shown.
        rng: gives the keys of the documents' streams and of the voters'.
    """
    impression = document_starts(ids, rng)  # first: votes do not change with what is added
    members = sample_voters(electorate, rng)
    care, shown, turn = (other_starts(impression, rng) for _ in range(3))
    streams = _Streams(impression, care, shown)
    num = len(ids)
    votes = Votes.none(num)
    rounds = _rounds(electorate.exposure, electorate.voters, votes, rank, uniforms(turn, 0))
    for part, chance in rounds:
        for start in range(0, num, _CHUNK):
            here = slice(start, start + _CHUNK)
            chunk = _Chunk(
                votes.on(here),
                tastes[here],
                targets[here],
                None if chance is None else chance[here],
                _Streams(*(starts[here] for starts in streams)),
            )
            for voter in part:
                _vote(chunk, int(voter), members, electorate)
    return votes


class _Streams(NamedTuple):
    """Starts of the documents' streams: one number a voter in each."""

    impression: Starts
    care: Starts
    shown: Starts


class _Chunk(NamedTuple):
    """Some documents; the votes on them are added in place."""

    votes: Votes
    tastes: Floats
    targets: Bools
    chance: Floats | None  # of being shown to a voter; None: certain
    streams: _Streams


def _rounds(
    exposure: Exposure,
    num_voters: int,
    votes: Votes,
    rank: Callable[[Counts, Counts], Floats],
    turn: Floats,
) -> Iterator[tuple[npt.NDArray[np.int64], Floats | None]]:
    """The voters of each round, and the chance of each document to be shown to them."""
    everybody = np.arange(num_voters)
    if exposure.by == "uniform":
        whole = exposure.attention == 1
        yield everybody, None if whole else np.full(len(turn), exposure.attention)
        return
    by_rank = exposure.shown_by_rank(len(turn)) if len(turn) else turn
    for part in np.array_split(everybody, exposure.rounds):
        chance = np.empty(len(turn))
        chance[np.lexsort((turn, -rank(votes.ups, votes.downs)))] = by_rank
        yield part, chance


def _vote(chunk: _Chunk, voter: int, members: Voters, electorate: Electorate) -> None:
    """Add one voter's votes."""
    votes, _, targets, chance, streams = chunk
    sees = None if chance is None else uniforms(streams.shown, voter) < chance
    votes.exposure[:] += 1 if sees is None else sees
    if members.is_bot[voter]:
        hits = targets if sees is None else targets & sees
        (votes.ups if electorate.bots.vote == "up" else votes.downs)[:] += hits
        return
    perceived = _perceived(chunk.tastes, members, voter, streams.impression)
    up = perceived >= members.threshold[voter]
    judges, casts = sees, sees  # None: on all documents
    abstain = members.abstain[voter]
    toss = (1 - abstain) * members.at_random[voter]
    follow = (1 - abstain - toss) * electorate.crowd.herding
    if abstain or toss or follow:
        # One number decides: none, a coin (its lower half up), the herd, or the own judgement.
        mood = uniforms(streams.care, voter)
        leads = votes.ups - votes.downs
        tosses, follows = mood < abstain + toss, mood < abstain + toss + follow
        own = ~follows | (~tosses & (leads == 0))
        up = np.where(own, up, np.where(tosses, mood < abstain + toss / 2, leads > 0))
        judges = own if sees is None else sees & own
        casts = mood >= abstain if sees is None else sees & (mood >= abstain)
    if casts is None or judges is None:
        votes.ups[:] += up
        votes.downs[:] += ~up
        votes.perceived[:] += perceived
    else:
        votes.ups[:] += up & casts
        votes.downs[:] += casts & ~up
        votes.perceived[:] += np.where(judges, perceived, 0.0)


def _perceived(tastes: Floats, members: Voters, voter: int, impression: Starts) -> Floats:
    """The quality as a voter sees it, with logistic noise."""
    quality = weighted_sum(tastes, members.weights[voter])
    if members.noise[voter] == 0:
        return quality
    draw = uniforms(impression, voter)
    perceived: Floats = quality + members.noise[voter] * np.log(draw / (1 - draw))
    return perceived
