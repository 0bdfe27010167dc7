"""A simulated crowd that votes on documents, in plain numpy.

A voter perceives a document's quality with their own weights of the scorers and their own noise.
They vote it up at or above their own threshold, and down below it. How voters are sampled is in
`textmad.curation.voters`.

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


class VoteCounts(NamedTuple):
    """Votes on documents, one entry a document."""

    ups: Counts
    downs: Counts
    exposure: Counts  # voters who were shown the document
    perceived: Floats  # quality, summed over the voters who judged the document

    @classmethod
    def none(cls, num_documents: int) -> VoteCounts:
        """No votes yet."""
        ups, downs, exposure = (np.zeros(num_documents, dtype=np.int64) for _ in range(3))
        return cls(ups, downs, exposure, np.zeros(num_documents))

    def on(self, rows: slice) -> VoteCounts:
        """Return a view of the votes on some documents: what is added to it counts in both."""
        ups, downs, exposure, perceived = self
        return VoteCounts(ups[rows], downs[rows], exposure[rows], perceived[rows])


class CastVotes(NamedTuple):
    """What a crowd has voted, and who it was."""

    votes: VoteCounts
    members: Voters
    shown: Floats  # (voters, properties): summed over the documents that each was shown


def cast_votes(
    ids: Sequence[str],
    scorer_values: Floats,
    targets: Bools,
    electorate: Electorate,
    rank: Callable[[Counts, Counts], Floats],
    rng: np.random.Generator,
    *,
    members: Voters | None = None,
    properties: Floats | None = None,
) -> CastVotes:
    """Let the crowd vote, and return its votes and its members.

    Args:
        ids: of the documents, sorted, so that equal ranks do not depend on their order.
        scorer_values: `(documents, scorers)`: each scorer's value for each document.
        targets: which documents the bots vote on.
        electorate: who votes.
        rank: from ups and downs so far to the score by which documents are shown.
        rng: gives the keys of the documents' streams and of the voters'.
        members: those who vote; None: new ones, sampled for this vote.
        properties: `(documents, properties)`, to be summed over what each voter is shown.
    """
    # The order of these draws is part of the result: a new one goes last.
    noise = document_starts(ids, rng)
    new_members = sample_voters(electorate, rng)
    members = members or new_members
    care, exposure, first_order = (other_starts(noise, rng) for _ in range(3))
    streams = _Streams(noise, care, exposure)
    num = len(ids)
    votes = VoteCounts.none(num)
    properties = np.zeros((num, 0)) if properties is None else properties
    shown = np.zeros((electorate.voters, properties.shape[1]))
    rounds = _rounds(electorate.exposure, electorate.voters, votes, rank, uniforms(first_order, 0))
    for voters, chance in rounds:
        for start in range(0, num, _CHUNK):
            rows = slice(start, start + _CHUNK)
            chunk = _Chunk(
                votes.on(rows),
                scorer_values[rows],
                targets[rows],
                None if chance is None else chance[rows],
                _Streams(*(starts[rows] for starts in streams)),
                properties[rows],
                shown,
            )
            for voter in voters:
                _vote(chunk, int(voter), members, electorate)
    return CastVotes(votes, members, shown)


class _Streams(NamedTuple):
    """Starts of the documents' random streams, each of which has one number for each voter."""

    noise: Starts
    care: Starts
    exposure: Starts


class _Chunk(NamedTuple):
    """Some of the documents; votes on them, and what voters are shown, are added in place."""

    votes: VoteCounts
    scorer_values: Floats
    targets: Bools
    chance: Floats | None  # of being shown to a voter; None: certain
    streams: _Streams
    properties: Floats
    shown: Floats


def _rounds(
    exposure: Exposure,
    num_voters: int,
    votes: VoteCounts,
    rank: Callable[[Counts, Counts], Floats],
    first_order: Floats,
) -> Iterator[tuple[npt.NDArray[np.int64], Floats | None]]:
    """Yield each round's voters, and the chance `(documents,)` that they are shown a document.

    None stands for a chance of 1 for all documents.
    """
    everybody = np.arange(num_voters)
    if exposure.by == "uniform":
        certain = exposure.attention == 1
        yield everybody, None if certain else np.full(len(first_order), exposure.attention)
        return
    by_rank = exposure.shown_by_rank(len(first_order)) if len(first_order) else first_order
    for voters in np.array_split(everybody, exposure.rounds):
        chance = np.empty(len(first_order))
        chance[np.lexsort((first_order, -rank(votes.ups, votes.downs)))] = by_rank
        yield voters, chance


def _vote(chunk: _Chunk, voter: int, members: Voters, electorate: Electorate) -> None:
    """Add one voter's votes to those of the chunk."""
    votes, targets, streams = chunk.votes, chunk.targets, chunk.streams
    sees = None if chunk.chance is None else uniforms(streams.exposure, voter) < chunk.chance
    votes.exposure[:] += 1 if sees is None else sees
    if chunk.shown.shape[1]:
        seen = chunk.properties if sees is None else chunk.properties[sees]
        chunk.shown[voter] += seen.sum(axis=0)
    if members.is_bot[voter]:
        targets_seen = targets if sees is None else targets & sees
        (votes.ups if electorate.bots.vote == "up" else votes.downs)[:] += targets_seen
        return
    perceived = _perceived(chunk.scorer_values, members, voter, streams.noise)
    up = perceived >= members.threshold[voter]
    judges, casts = sees, sees  # None: on all documents
    abstain = members.abstain[voter]
    toss = (1 - abstain) * members.at_random[voter]
    follow = (1 - abstain - toss) * electorate.crowd.herding
    if abstain or toss or follow:
        # One uniform number chooses: no vote, a coin (up in its lower half), the sign of the
        # score so far, or the voter's own judgement.
        choice = uniforms(streams.care, voter)
        leads = votes.ups - votes.downs
        tosses, follows = choice < abstain + toss, choice < abstain + toss + follow
        judges_alone = ~follows | (~tosses & (leads == 0))
        up = np.where(judges_alone, up, np.where(tosses, choice < abstain + toss / 2, leads > 0))
        judges = judges_alone if sees is None else sees & judges_alone
        casts = choice >= abstain if sees is None else sees & (choice >= abstain)
    if casts is None or judges is None:
        votes.ups[:] += up
        votes.downs[:] += ~up
        votes.perceived[:] += perceived
    else:
        votes.ups[:] += up & casts
        votes.downs[:] += casts & ~up
        votes.perceived[:] += np.where(judges, perceived, 0.0)


def _perceived(scorer_values: Floats, members: Voters, voter: int, noise: Starts) -> Floats:
    """Return each document's quality as one voter perceives it, with logistic noise."""
    quality = weighted_sum(scorer_values, members.weights[voter])
    if members.noise[voter] == 0:
        return quality
    draws = uniforms(noise, voter)
    perceived: Floats = quality + members.noise[voter] * np.log(draws / (1 - draws))
    return perceived
