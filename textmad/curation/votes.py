"""A crowd's upvotes: what is liked is kept, and the next model learns from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from textmad.curation.controls import check_kept_share
from textmad.curation.crowd import Counts, voted
from textmad.curation.document_rng import Floats, document_uniforms
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.ranking import Choice, Rule, chosen, rank_score
from textmad.curation.score_mixture import ScorerSetting, Units, check_scorer, score_quality
from textmad.curation.voters import Bots, Crowd, Electorate, Exposure
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
    1 / (1 + exp(-q / noise)). Documents of equal rank stand in the order of their summed
    perceived quality, then of their id. Hence without noise the crowd ranks by quality exactly,
    and with endless noise it keeps what chance keeps. The nested settings make it a less equal,
    less careful, less honest crowd; docs/crowd.md goes through them.

    Votes belong to the document's id, not to its place. The documents' `votes` become ups less
    downs, and the score is what `rank` makes of them; the table also gets `ups`, `downs`,
    `exposure` (voters it was shown to), `rank` (1 for the first), `quality`, and each scorer's
    own value as `reward_<scorer>`.

    Attributes:
        scorer: a scorer's name (`textmad.curation.scorers`), names with their weights, or a
            function from a list of texts to a list of numbers, higher being better; in YAML as
            module:name.
        voters: at least 1.
        noise: scale of a voter's logistic noise in units of quality; 0 = none.
        keep: share, above 0 and at most 1; exactly `round(keep * documents)` are kept.
        units: of quality. `standard`: standard deviations over the candidates, from their mean.
            `raw`: the scorer's own.
        crowd: how voters differ, how careful they are, whether they follow each other.
        bots: voters with a target.
        exposure: who is shown what.
        rank: the rule by which votes become a score (`textmad.curation.ranking.rank_score`).
        choice: which documents are kept, given their scores.
    """

    scorer: ScorerSetting = "fluency"
    voters: int = 50
    noise: float = 1.0
    keep: float = _KEEP
    units: Units = "standard"
    crowd: Crowd = field(default_factory=Crowd)
    bots: Bots = field(default_factory=Bots)
    exposure: Exposure = field(default_factory=Exposure)
    rank: Rule = "net"
    choice: Choice = field(default_factory=Choice)

    def __post_init__(self) -> None:
        check_scorer(self.scorer)
        if self.voters < 1:
            raise ValueError(f"voters: {self.voters}: expected at least 1")
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
        if self.exposure.hours != Exposure.hours and self.rank != "hot":
            raise ValueError(
                f"exposure.hours: {self.exposure.hours:g}: has no effect while rank is "
                f"{self.rank}; set rank: hot, or delete it"
            )

    @property
    def kept_share(self) -> float:
        """Of the documents; at most, where a threshold decides."""
        return 1.0 if self.choice.by == "threshold" else self.keep

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        given = candidates["id"][:]
        order = np.argsort(np.array(given, dtype=str), kind="stable")  # so that theirs is none
        return self._judged(take(candidates, order), context).take(np.argsort(order))

    def _judged(self, candidates: Dataset, context: Context) -> Verdicts:
        """The verdicts on candidates sorted by id."""
        ids = candidates["id"][:]
        _, _, quality, rewards = found = score_quality(self.scorer, self.units, candidates, context)
        # From a stream of their own: they change no vote.
        posted, *draws = document_uniforms(ids, context.rng.spawn(1)[0], 3)
        posted = _posted(candidates, posted, self.exposure.hours)

        def score_of(ups: Counts, downs: Counts) -> Floats:
            return rank_score(
                self.rank, ups, downs, voters=self.voters, posted=posted, quality=quality
            )

        electorate = Electorate(
            self.voters, found.weights, self.noise, self.crowd, self.bots, self.exposure
        )
        targets = self.bots.targets(context.as_posted(candidates))
        votes = voted(ids, found.tastes, targets, electorate, score_of, context.rng)
        score = score_of(votes.ups, votes.downs)
        ranking = np.lexsort((-votes.perceived, -score))  # last key first, then the id
        keep = chosen(self.choice, score, ranking, self.keep, draws)
        place = np.empty(len(ids), dtype=np.int64)
        place[ranking] = np.arange(1, len(ids) + 1)
        columns = {
            "ups": votes.ups,
            "downs": votes.downs,
            "exposure": votes.exposure,
            "rank": place,
            "quality": quality,
            **rewards,
            "votes": (votes.ups - votes.downs).astype(np.float64),
        }
        return Verdicts(keep, score, self._reason(), columns)

    def _reason(self) -> str:
        match self.choice.by:
            case "top":
                by = "most upvoted" if self.rank == "net" else f"highest by {self.rank}"
                return f"not among the {self.keep:.4g} {by}"
            case "threshold":
                return f"{self.rank} below {self.choice.threshold:g}"
            case "softmax":
                return f"not among the {self.keep:.4g} drawn by {self.rank}"
            case "bradley_terry":
                return f"another was chosen from its {1 / self.keep:.4g} by {self.rank}"


def check_noise(noise: float) -> None:
    """Refuse a scale of noise that is none."""
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise: {noise:g}: expected a finite number of at least 0")


def _posted(candidates: Dataset, draw: Floats, hours: float) -> Floats:
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
    posted: Floats = np.where(is_unknown, first + draw * seconds, times)
    return posted
