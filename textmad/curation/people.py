"""The filter `people`: people vote on the candidates, and those that rank highest are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.controls import check_kept_share
from textmad.curation.crowd import Counts
from textmad.curation.document_rng import Floats, document_uniforms
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.ranking import Choice, choose, rank_score
from textmad.errors import CurationError, WaitingForVotesError
from textmad.rating.agreement import agreement, counted_votes, strengths
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.records import State, Vote
from textmad.rating.reliability import left_out
from textmad.text.documents import take

if TYPE_CHECKING:
    from datasets import Dataset

Rule = Literal["net", "share", "wilson", "likes", "strength", "stars"]

FROZEN = ("people_votes", "votes_digest")  # columns of the candidates: each vote; of all of them
_KEEP = 0.25


@dataclass(frozen=True)
class People:
    """Keep what people vote up most, on a page in their browser.

    The filter lays out its candidates for people to vote on, and ends the run with
    `WaitingForVotesError` until there are enough votes. The same command then goes on: the votes
    are closed, and stand in the table from then on. A chosen text of a pair or group gets a vote
    up, the others of it a vote down; stars above the middle are up, below it down. Equal scores are
    ordered at random. Documents without a vote have the score 0 (`strength`: about 0; `stars`: the
    middle).

    The table gets `ups`, `downs`, `exposure` (votes on the document), `rank` (1 for the first),
    `people_votes` (JSON: rater, item and value of each vote on it; for pairs and groups 1 where it
    was chosen) and `votes_digest`, the SHA-256 of all votes of the ballot. The documents' `votes`
    become ups less downs. The record `people BALLOT` has the raters, those left out with the
    reason, and Krippendorff's alpha with its interval over raters.

    Attributes:
        keep: share, above 0 and at most 1; exactly `round(keep * documents)` are kept.
        ballot: what people are asked, and how much.
        rank: by `net`, `share`, `wilson` or `likes` as in `textmad.curation.ranking.rank_score`;
            `strength` (Bradley-Terry and Luce) for pairs and best_of; `stars`, their mean.
        choice: which documents are kept, given their scores.
    """

    keep: float = _KEEP
    ballot: Ballot = field(default_factory=Ballot)
    rank: Rule = "net"
    choice: Choice = field(default_factory=Choice)

    def __post_init__(self) -> None:
        check_kept_share(self.keep)
        if self.choice.by == "threshold" and self.keep != _KEEP:
            raise ValueError(
                f"keep: {self.keep:g}: has no effect while choice.by is threshold; delete it"
            )
        for rule, designs in (("strength", ("pairs", "best_of")), ("stars", ("stars",))):
            if self.rank == rule and self.ballot.design not in designs:
                raise ValueError(
                    f"rank: {rule}: needs ballot.design {' or '.join(designs)}, which is "
                    f"{self.ballot.design}"
                )
        check_gold(self.ballot)

    @property
    def kept_share(self) -> float:
        """Of the documents; 1 if a threshold decides."""
        return 1.0 if self.choice.by == "threshold" else self.keep

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates.

        Raises:
            WaitingForVotesError: there are not enough votes yet.
        """
        # Sorted by id, so that the candidates' order changes nothing.
        order = np.argsort(np.array(candidates["id"][:], dtype=str), kind="stable")
        return self._judge_sorted(take(candidates, order), context).take(np.argsort(order))

    def _judge_sorted(self, candidates: Dataset, context: Context) -> Verdicts:
        """Return the verdicts on candidates that are sorted by id."""
        votes = collect_votes(self.ballot, candidates, context)
        ids = candidates["id"][:]
        tie_draws, *choice_draws = document_uniforms(ids, context.rng.spawn(1)[0], 3)
        score = self._score(votes)
        best_first = np.lexsort((tie_draws, -score))  # last key first
        keep = choose(self.choice, score, best_first, self.keep, choice_draws)
        rank = np.empty(len(ids), dtype=np.int64)
        rank[best_first] = np.arange(1, len(ids) + 1)
        columns = {
            "ups": votes.ups,
            "downs": votes.downs,
            "exposure": votes.exposure,
            "rank": rank,
            **votes.frozen,
            "votes": (votes.ups - votes.downs).astype(np.float64),
        }
        return Verdicts(keep, score, self._reason(), columns)

    def _score(self, votes: PeoplesVotes) -> Floats:
        if self.rank == "strength":
            return strengths(len(votes.ups), votes.choices)
        if self.rank == "stars":
            middle = np.full(len(votes.ups), float(np.mean(self.ballot.values)))
            means: Floats = np.divide(
                votes.values, votes.exposure, out=middle, where=votes.exposure > 0
            )
            return means
        unused = np.zeros(len(votes.ups))  # only `hot` and `quality` need more than votes
        voters = self.ballot.votes_per_text
        return rank_score(
            self.rank, votes.ups, votes.downs, voters=voters, posted=unused, quality=unused
        )

    def _reason(self) -> str:
        match self.choice.by:
            case "top":
                return f"not among the {self.keep:.4g} that people rank highest by {self.rank}"
            case "threshold":
                return f"{self.rank} of people's votes below {self.choice.threshold:g}"
            case "softmax":
                return f"not among the {self.keep:.4g} drawn by {self.rank} of people's votes"
            case "bradley_terry":
                return f"another was chosen from its {1 / self.keep:.4g} by {self.rank}"


def check_gold(ballot: Ballot) -> None:
    """Check that the file of gold texts can be read, before anything is computed.

    Raises:
        ValueError: it names the setting `ballot.gold`.
    """
    try:
        ballot.read_gold()
    except ValueError as error:
        raise ValueError(f"ballot.{error}") from None


class PeoplesVotes(NamedTuple):
    """People's votes on candidates, one entry a document."""

    ups: Counts
    downs: Counts
    exposure: Counts  # votes on the document
    values: Counts  # summed: of stars
    choices: list[tuple[int, tuple[int, ...]]]  # the chosen document, and the others of its item
    frozen: dict[str, npt.NDArray[Any]]  # columns for the candidates' table


def collect_votes(
    ballot: Ballot,
    candidates: Dataset,
    context: Context,
    groups: Sequence[Sequence[int]] | None = None,
) -> PeoplesVotes:
    """Lay out candidates, or read the votes on them if there are enough.

    Args:
        ballot: what is asked.
        candidates: in an order that does not depend on how they were given, as by their ids.
        context: of the filter.
        groups: the rows of the candidates that are shown together; None: random ones.

    Raises:
        WaitingForVotesError: there are not enough votes yet.
        CurationError: too few candidates for the design, or the context has no file for votes.
    """
    if context.votes_file is None:
        raise CurationError(
            "this context has no file for people's votes: it was made by hand without one; give it "
            "votes_file"
        )
    ids = candidates["id"][:]
    # A prompted document is the prompt and its continuation; people read both.
    rows = zip(candidates["prompt"][:], candidates["text"][:], strict=True)
    texts = [prompt + text for prompt, text in rows]
    ballots = Ballots(context.votes_file)
    try:
        try:
            name = ballots.lay_out(
                ballot, context.generation, ids, texts, context.rng, groups, context.run
            )
        except ValueError as error:
            raise CurationError(str(error)) from error
        state = ballots.state(name)
        if state.digest is None and not state.is_enough:
            raise WaitingForVotesError(_how_to_vote(state, context))
        digest = ballots.close_ballot(name)
        votes = ballots.votes(name)
    finally:
        ballots.close()
    out = left_out(ballot, votes)
    counted = [vote for vote in counted_votes(votes) if vote.rater not in out]
    if not counted:
        raise CurationError(
            f"ballot.min_gold_accuracy: {ballot.min_gold_accuracy:g}: no vote is left, because all "
            "raters are left out; lower it"
        )
    raters = sorted({vote.rater for vote in votes})
    alpha = agreement(ballot, counted)
    context.record(
        f"people {name}",
        {
            "digest": digest,
            "votes": len(counted),
            "raters": raters,
            "left_out": out,
            "alpha": None if alpha is None else alpha._asdict(),
        },
    )
    return _count(ballot, ids, counted, digest)


def _count(ballot: Ballot, ids: list[str], votes: list[Vote], digest: str) -> PeoplesVotes:
    row_of = {name: row for row, name in enumerate(ids)}
    ups, downs, exposure, values = (np.zeros(len(ids), dtype=np.int64) for _ in range(4))
    choices: list[tuple[int, tuple[int, ...]]] = []
    frozen: list[list[tuple[str, int, int]]] = [[] for _ in ids]
    middle = sum(ballot.values) / len(ballot.values)
    for vote in votes:
        rows = [row_of[name] for name in vote.documents]
        if len(rows) > 1:
            chosen = rows[vote.value]
            choices.append((chosen, tuple(row for row in rows if row != chosen)))
            marks = [int(row == chosen) for row in rows]
        else:
            marks = [vote.value]
        for row, mark in zip(rows, marks, strict=True):
            # A mark is 0 or 1, or a number of stars.
            bar = middle if len(rows) == 1 else 0.5
            ups[row] += mark > bar
            downs[row] += mark < bar
            exposure[row] += 1
            values[row] += mark
            frozen[row].append((vote.rater, vote.item, mark))
    each = np.array([json.dumps(sorted(marks)) for marks in frozen], dtype=object)
    digests = np.array([digest] * len(ids), dtype=object)
    columns = dict(zip(FROZEN, (each, digests), strict=True))
    return PeoplesVotes(ups, downs, exposure, values, choices, columns)


def _how_to_vote(state: State, context: Context) -> str:
    assert context.votes_file is not None
    folder = context.votes_file.parent
    return (
        f"generation {context.generation} waits for people's votes, {state.num_votes:,} of "
        f"{state.num_needed:,} so far: vote with `textmad rate {folder}`, then run the same "
        "command again"
    )
