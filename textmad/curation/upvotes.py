"""The filter `upvotes`: a crowd votes, and the documents that rank highest are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from textmad.curation.controls import check_kept_share
from textmad.curation.crowd import Counts, VoteCounts, cast_votes
from textmad.curation.document_rng import Floats, document_uniforms
from textmad.curation.drift import vote_and_drift
from textmad.curation.people import check_gold, collect_votes
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.ranking import Choice, Rule, choose, random_groups, rank_score
from textmad.curation.score_mixture import (
    QualityScores,
    ScorerSetting,
    Units,
    check_scorer,
    score_quality,
)
from textmad.curation.voters import Bots, Crowd, Electorate, Exposure, Voters
from textmad.rating.ballot import Ballot
from textmad.text.documents import take

if TYPE_CHECKING:
    from datasets import Dataset

_KEEP = 0.25


@dataclass(frozen=True)
class Upvotes:
    """Keep what a crowd votes up most.

    A document's quality is its scorer's value, standardised over the candidates. Each voter
    perceives the quality plus their own noise, and votes up what they perceive at or above the
    average, otherwise down; so a document of quality q gets a voter's upvote with probability
    1 / (1 + exp(-q / noise)). Documents of equal rank are ordered by their summed perceived
    quality, then by their id. So without noise the crowd ranks by quality exactly, and with
    infinite noise it keeps documents at random. The nested settings make voters differ, abstain,
    follow each other or vote for money; docs/crowd.md explains each of them.

    Votes depend on the document's id, not on its position. The documents' `votes` become ups
    less downs, and the score is computed from them by `rank`; the table also gets `ups`,
    `downs`, `exposure` (voters who were shown it), `rank` (1 for the first), `quality`, each
    scorer's own value as `reward_<scorer>`; where one voter decides, `decider`: who; and where
    tastes drift, `taste_<scorer>`: the mean weight with which people have voted.

    Attributes:
        scorer: a scorer's name (`textmad.curation.scorers`), names with their weights, or a
            function from a list of texts to a list of numbers, higher being better; in YAML as
            module:name.
        voters: at least 1; or `people`, who vote on a page in their browser, as for the filter
            `people`. Then the scorer only gives `quality`, and equal ranks are ordered at random.
        noise: scale of a voter's logistic noise in units of quality; 0 = none.
        keep: share, above 0 and at most 1; exactly `round(keep * documents)` are kept.
        units: of quality. `standard`: standard deviations over the candidates, from their mean.
            `raw`: the scorer's own.
        crowd: how voters differ, how careful they are, whether they follow each other.
        bots: voters with a target.
        exposure: who is shown what.
        ballot: what people are asked, if they are the voters.
        rank: the rule by which votes become a score (`textmad.curation.ranking.rank_score`).
        choice: which documents are kept, given their scores.
        decided_by: whose score counts where `choice.by` is `bradley_terry`. `votes`: that of all
            voters. `voter`: one voter decides in each group, by their own weights of the scorers,
            so that every taste has its share of the choices (plural preferences; Falahati et al.,
            2605.07724).
    """

    scorer: ScorerSetting = "fluency"
    voters: int | Literal["people"] = 50
    noise: float = 1.0
    keep: float = _KEEP
    units: Units = "standard"
    crowd: Crowd = field(default_factory=Crowd)
    bots: Bots = field(default_factory=Bots)
    exposure: Exposure = field(default_factory=Exposure)
    ballot: Ballot = field(default_factory=Ballot)
    rank: Rule = "net"
    choice: Choice = field(default_factory=Choice)
    decided_by: Literal["votes", "voter"] = "votes"

    def __post_init__(self) -> None:
        check_scorer(self.scorer)
        if self.voters != "people" and self.voters < 1:
            raise ValueError(f"voters: {self.voters}: expected at least 1, or people")
        self._check_voters()
        check_noise(self.noise)
        check_kept_share(self.keep)
        if self.choice.by == "threshold" and self.keep != _KEEP:
            raise ValueError(
                f"keep: {self.keep:g}: has no effect while choice.by is threshold; delete it"
            )
        if self.crowd.taste_spread and not isinstance(self.scorer, dict):
            raise ValueError(
                f"crowd.taste_spread: {self.crowd.taste_spread:g}: has no effect with a single "
                "scorer; give several with their weights, or delete it"
            )
        if self.crowd.drift:
            self._check_drift()
        if self.decided_by == "voter":
            self._check_one_taste()
        if self.exposure.hours != Exposure.hours and self.rank != "hot":
            raise ValueError(
                f"exposure.hours: {self.exposure.hours:g}: has no effect while rank is "
                f"{self.rank}; set rank: hot, or delete it"
            )

    def _check_drift(self) -> None:
        """Check that tastes drift only where there are several, and where they decide."""
        drift = f"crowd.drift: {self.crowd.drift:g}: has no effect"
        if not isinstance(self.scorer, dict) or np.count_nonzero([*self.scorer.values()]) < 2:
            raise ValueError(
                f"{drift} with a single scorer; give several with their weights, or delete it"
            )
        if self.rank == "quality" and self.decided_by == "votes":
            raise ValueError(
                f"{drift} while rank is quality and decided_by is votes; set decided_by: voter or "
                "another rank, or delete it"
            )

    def _check_one_taste(self) -> None:
        """Check that one voter decides only where one can, and where voters differ."""
        for is_fault, fault in (
            (self.voters == "people", "voters is people"),
            (self.choice.by != "bradley_terry", f"choice.by is {self.choice.by}"),
            (not self.crowd.taste_spread, "crowd.taste_spread is 0"),
        ):
            if is_fault:
                raise ValueError(f"decided_by: voter: has no effect while {fault}; delete it")
        if self.bots.share == 1:
            raise ValueError("decided_by: voter: expected a voter who is no bot; lower bots.share")

    def _check_voters(self) -> None:
        """Check that nothing is set for simulated voters if people vote, and the reverse."""
        if self.voters != "people":
            if self.ballot != Ballot():
                raise ValueError(
                    f"ballot: has no effect while voters is {self.voters}; set voters: people, or "
                    "delete it"
                )
            return
        posted = replace(Exposure(), hours=self.exposure.hours)  # also people's votes rank by `hot`
        for name, value, default in (
            ("noise", self.noise, 1.0),
            ("crowd", self.crowd, Crowd()),
            ("bots", self.bots, Bots()),
            ("exposure", self.exposure, posted),
        ):
            if value != default:
                raise ValueError(f"{name}: has no effect while voters is people; delete it")
        check_gold(self.ballot)

    @property
    def kept_share(self) -> float:
        """Of the documents; 1 if a threshold decides."""
        return 1.0 if self.choice.by == "threshold" else self.keep

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        # Sorted by id, so that the candidates' order changes nothing.
        order = np.argsort(np.array(candidates["id"][:], dtype=str), kind="stable")
        return self._judge_sorted(take(candidates, order), context).take(np.argsort(order))

    def _judge_sorted(self, candidates: Dataset, context: Context) -> Verdicts:
        """Return the verdicts on candidates that are sorted by id."""
        ids = candidates["id"][:]
        scores = score_quality(self.scorer, self.units, candidates, context)
        # These draws have a random stream of their own, so that they change no vote.
        time_draws, *choice_draws = document_uniforms(ids, context.rng.spawn(1)[0], 3)
        posted = _posted(candidates, time_draws, self.exposure.hours)

        def score_of(ups: Counts, downs: Counts) -> Floats:
            num_voters = self.ballot.votes_per_text if self.voters == "people" else self.voters
            return rank_score(
                self.rank, ups, downs, voters=num_voters, posted=posted, quality=scores.quality
            )

        votes, columns, members = self._vote(candidates, scores, score_of, context)
        score = score_of(votes.ups, votes.downs)
        best_first = np.lexsort((-votes.perceived, -score))  # by score, then perceived, then id
        if members is not None and self.decided_by == "voter":
            num_groups = round(self.keep * len(ids))
            deciders = members.draw_people(num_groups, context.rng.spawn(1)[0])
            decider = deciders[random_groups(choice_draws[1], num_groups)]
            score = (scores.scorer_values * members.weights[decider]).sum(axis=1)
            columns["decider"] = decider
        keep = choose(self.choice, score, best_first, self.keep, choice_draws)
        rank = np.empty(len(ids), dtype=np.int64)
        rank[best_first] = np.arange(1, len(ids) + 1)
        columns = {
            "ups": votes.ups,
            "downs": votes.downs,
            "exposure": votes.exposure,
            "rank": rank,
            "quality": scores.quality,
            **scores.rewards,
            **columns,
            "votes": (votes.ups - votes.downs).astype(np.float64),
        }
        return Verdicts(keep, score, self._reason(), columns)

    def _vote(
        self,
        candidates: Dataset,
        scores: QualityScores,
        score_of: Callable[[Counts, Counts], Floats],
        context: Context,
    ) -> tuple[VoteCounts, dict[str, npt.NDArray[Any]], Voters | None]:
        """Let the voters vote on candidates that are sorted by id.

        Returns:
            The votes; columns with each vote, of people, or with the tastes of a crowd that
            drifts; the members of a simulated crowd.
        """
        ids = candidates["id"][:]
        if self.voters == "people":
            people = collect_votes(self.ballot, candidates, context)
            (tie_draws,) = document_uniforms(ids, context.rng.spawn(1)[0], 1)
            votes = VoteCounts(people.ups, people.downs, people.exposure, tie_draws)
            return votes, people.frozen, None
        electorate = Electorate(
            self.voters, scores.weights, self.noise, self.crowd, self.bots, self.exposure
        )
        targets = self.bots.targets(context.as_posted(candidates))
        cast = partial(
            cast_votes, ids, scores.scorer_values, targets, electorate, score_of, context.rng
        )
        if not self.crowd.drift:
            votes, members, _ = cast()
            return votes, {}, members
        cast_by, means = vote_and_drift(
            cast,
            np.stack([*scores.rewards.values()], axis=1),
            scores.weights,
            self.crowd.drift,
            context,
            is_raw=self.units == "raw",
        )
        columns = {
            name.replace("reward_", "taste_", 1): np.full(len(ids), mean)
            for name, mean in zip(scores.rewards, means, strict=True)
        }
        return cast_by.votes, columns, cast_by.members

    def _reason(self) -> str:
        match self.choice.by:
            case "top":
                by = "most upvoted" if self.rank == "net" else f"highest by {self.rank}"
                return f"not among the {self.keep:.4g} {by}"
            case "threshold":
                return f"{self.rank} below {self.choice.threshold:g}"
            case "softmax":
                return f"not among the {self.keep:.4g} drawn by {self.rank}"
            case "bradley_terry" if self.decided_by == "voter":
                return f"a voter chose another of its {1 / self.keep:.4g}"
            case "bradley_terry":
                return f"another was chosen from its {1 / self.keep:.4g} by {self.rank}"


def check_noise(noise: float) -> None:
    """Check that a scale of noise is finite and not negative.

    Raises:
        ValueError: it names the setting `noise`.
    """
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise: {noise:g}: expected a finite number of at least 0")


def _posted(candidates: Dataset, draws: Floats, hours: float) -> Floats:
    """Return when each document was posted, in seconds.

    Its own time where that is known. Where it is not, a time drawn evenly between the first and
    the last known one; without any, evenly over some hours.
    """
    times = np.array(candidates["time"][:], dtype=np.float64)  # NaN where unknown
    is_unknown = np.isnan(times)
    if is_unknown.all():
        first, seconds = 0.0, hours * 3600
    else:
        first, seconds = np.nanmin(times), np.nanmax(times) - np.nanmin(times)
    posted: Floats = np.where(is_unknown, first + draws * seconds, times)
    return posted
