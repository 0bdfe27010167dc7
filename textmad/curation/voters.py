"""Voters: how they differ, which of them are bots, and which documents they are shown.

docs/crowd.md explains each setting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.document_rng import Floats

if TYPE_CHECKING:
    from datasets import Dataset

Bools = npt.NDArray[np.bool_]


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: {value:g}: expected a share from 0 to 1")


@dataclass(frozen=True)
class Crowd:
    """How voters differ, how careful they are, and whether they follow each other.

    By default all voters are equal, and vote on every document that they are shown.

    Attributes:
        taste_spread: 0: all voters weigh the scorers as the recipe does; 1: each cares for one of
            them alone; between, the weights are Dirichlet and their variance this share of the
            largest possible.
        noise_spread: standard deviation of the logarithm of a voter's noise; `noise` is its median.
        strictness: the quality from which a document is voted up, in the unit of quality.
        strictness_spread: its standard deviation between voters.
        abstain: share of the shown documents on which no vote is cast.
        at_random: share of the votes that are the toss of a coin, so that half of it is wrong.
        care_spread: 0: all voters are equally careful; 1: a voter abstains always or never, and
            votes at random always or never; between, Beta, as `taste_spread`.
        herding: share of the votes that follow the sign of the document's score so far, where it
            has one (Bikhchandani, Hirshleifer and Welch, "A theory of fads", JPE 100, 1992;
            measured by Muchnik, Aral and Taylor, "Social influence bias", Science 341, 2013).
        drift: rate, from 0 to 1, at which voters come to like what they are shown
            (`textmad.curation.drift`). Above 0 the same voters vote in every generation.
    """

    taste_spread: float = 0.0
    noise_spread: float = 0.0
    strictness: float = 0.0
    strictness_spread: float = 0.0
    abstain: float = 0.0
    at_random: float = 0.0
    care_spread: float = 0.0
    herding: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("taste_spread", "at_random", "care_spread", "herding", "drift"):
            _check_share(name, getattr(self, name))
        if not 0 <= self.abstain < 1:
            raise ValueError(f"abstain: {self.abstain:g}: expected a share from 0 to below 1")
        for name in ("noise_spread", "strictness_spread"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name}: {getattr(self, name):g}: expected a finite number of at least 0"
                )
        if not np.isfinite(self.strictness):
            raise ValueError(f"strictness: {self.strictness:g}: expected a finite number")
        if self.care_spread and not self.abstain and not self.at_random:
            raise ValueError(
                f"care_spread: {self.care_spread:g}: has no effect while abstain and at_random "
                "are 0; raise one, or delete it"
            )


@dataclass(frozen=True)
class Bots:
    """Voters who vote on their targets only, always the same way, and never miss one shown.

    A target meets all of `origin`, `author` and `pattern`. Where all candidates are a model's and
    the last two are left open, every document is a target, and bots dilute the people's votes
    without changing their order. In a crawl, where nothing shows whose a text is, bots know it:
    who sends them knows what they posted.

    Attributes:
        share: of the voters, from 0 to 1; rounded to whole bots, who come at random moments.
        vote: up or down.
        origin: whose text is a target.
        author: whose text alone is, as in the column `author`; "" for anybody's.
        pattern: regular expression that a target's text contains; "" for any text.
    """

    share: float = 0.0
    vote: Literal["up", "down"] = "up"
    origin: Literal["model", "human", "any"] = "model"
    author: str = ""
    pattern: str = ""

    def __post_init__(self) -> None:
        _check_share("share", self.share)
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"pattern: {self.pattern}: expected a regular expression ({error})"
            ) from None
        for name, default in (("vote", "up"), ("origin", "model"), ("author", ""), ("pattern", "")):
            if getattr(self, name) != default and not self.share:
                raise ValueError(
                    f"{name}: {getattr(self, name)}: has no effect while share is 0; raise it, or "
                    "delete this"
                )

    def targets(self, candidates: Dataset) -> Bools:
        """Which documents the bots vote on, `(documents,)`."""
        if not self.share:
            return np.zeros(len(candidates), dtype=bool)
        rows = zip(*(candidates[name][:] for name in ("text", "origin", "author")), strict=True)
        return np.array(
            [
                self.origin in ("any", origin)
                and self.author in ("", author)
                and re.search(self.pattern, text) is not None
                for text, origin, author in rows
            ],
            dtype=bool,
        )


@dataclass(frozen=True)
class Exposure:
    """Which documents a voter is shown.

    Attributes:
        by: `uniform`: any. `rank`: the document at rank r is looked at in proportion to
            r^-exponent (Joachims, Swaminathan and Schnabel, 1608.04468, section 5.3), so that
            what leads early is seen, and voted on, more: the rich get richer (Salganik, Dodds
            and Watts, Science 311, 2006). At first the ranks are random.
        attention: share of the documents that a voter is shown on average; above 0, at most 1.
        exponent: of the rank; 0 is uniform.
        rounds: how often the documents are ranked anew while the crowd votes, at least 2.
        hours: time over which the documents are posted, for the rule `hot`, where the candidates'
            own `time` is unknown; Reddit's formula sets 12.5 hours equal to a tenfold score.
    """

    by: Literal["uniform", "rank"] = "uniform"
    attention: float = 1.0
    exponent: float = 1.0
    rounds: int = 10
    hours: float = 12.5

    def __post_init__(self) -> None:
        if not 0 < self.attention <= 1:
            raise ValueError(
                f"attention: {self.attention:g}: expected a share above 0 and at most 1"
            )
        if not 0 <= self.exponent < np.inf:
            raise ValueError(f"exponent: {self.exponent:g}: expected a finite number of at least 0")
        if self.rounds < 2:
            raise ValueError(f"rounds: {self.rounds}: expected at least 2")
        if not 0 < self.hours < np.inf:
            raise ValueError(f"hours: {self.hours:g}: expected a finite number above 0")
        if self.by == "rank" and self.attention == 1:
            raise ValueError(
                "by: rank: has no effect while attention is 1, where everybody sees everything; "
                "lower attention, or delete it"
            )
        for name, default in (("exponent", 1.0), ("rounds", 10)):
            if self.by == "uniform" and getattr(self, name) != default:
                raise ValueError(
                    f"{name}: {getattr(self, name):g}: has no effect while by is uniform; set "
                    "by: rank, or delete it"
                )

    def shown_by_rank(self, num_documents: int) -> Floats:
        """The chance that a voter is shown the document at each rank, `(documents,)`.

        min(1, c r^-exponent), with the c at which they sum to attention x documents.

        >>> Exposure("rank", attention=0.5).shown_by_rank(3).round(3).tolist()
        [0.818, 0.409, 0.273]
        """
        chances = np.arange(1, num_documents + 1, dtype=np.float64) ** -self.exponent
        wanted = self.attention * num_documents
        # If the first m ranks are certain, c = (wanted - m) / (sum of the others). The smallest
        # m with which the rank after them stays at most 1 is the right one.
        sum_from = np.cumsum(chances[::-1])[::-1]
        certain = np.arange(num_documents)
        fits = (wanted - certain) * chances <= sum_from
        num_certain = int(np.argmax(fits))
        chances *= (wanted - num_certain) / sum_from[num_certain]
        return np.minimum(chances, 1.0)


class Electorate(NamedTuple):
    """All settings of the voters."""

    voters: int
    weights: Floats  # (scorers,): the voters' mean weights, of absolute sum 1
    noise: float
    crowd: Crowd = Crowd()
    bots: Bots = Bots()
    exposure: Exposure = Exposure()


class Voters(NamedTuple):
    """The members of a crowd, one entry each."""

    weights: Floats  # (voters, scorers): of each scorer in a voter's quality
    noise: Floats  # (voters,)
    threshold: Floats
    abstain: Floats
    at_random: Floats
    is_bot: Bools

    def draw_people(self, num: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw `num` voters who are no bots, with replacement, and return their indices."""
        return rng.choice(np.flatnonzero(~self.is_bot), size=num)


def weighted_sum(scorer_values: Floats, weights: Floats) -> Floats:
    """Return the weighted sum of the scorers' values, `(documents,)`.

    Summed scorer by scorer, so that a document's sum does not depend on the others.

    Args:
        scorer_values: `(documents, scorers)`: each scorer's value for each document.
        weights: `(scorers,)`.

    >>> weighted_sum(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -0.5])).tolist()
    [-0.5, -0.5]
    """
    total: Floats = scorer_values[:, 0] * weights[0]
    for index in range(1, len(weights)):
        total = total + scorer_values[:, index] * weights[index]
    return total


def sample_voters(electorate: Electorate, rng: np.random.Generator) -> Voters:
    """Sample the voters, and return them in the order in which they vote."""
    num_voters, crowd = electorate.voters, electorate.crowd
    # One generator for each property, so that setting one changes none of the others.
    weights, noises, thresholds, abstaining, tossing, order = _spawn_generators(rng, 6)
    mean = electorate.weights
    return Voters(
        weights=_dirichlet(np.abs(mean), crowd.taste_spread, num_voters, weights) * np.sign(mean),
        noise=electorate.noise * np.exp(crowd.noise_spread * noises.normal(size=num_voters)),
        threshold=crowd.strictness + crowd.strictness_spread * thresholds.normal(size=num_voters),
        abstain=_shares(crowd.abstain, crowd.care_spread, num_voters, abstaining),
        at_random=_shares(crowd.at_random, crowd.care_spread, num_voters, tossing),
        is_bot=order.permutation(num_voters) < round(electorate.bots.share * num_voters),
    )


def _spawn_generators(rng: np.random.Generator, num: int) -> list[np.random.Generator]:
    """Return `num` independent generators, seeded from `rng`."""
    return [np.random.Generator(np.random.PCG64(int(rng.integers(2**63)))) for _ in range(num)]


def _dirichlet(mean: Floats, spread: float, num: int, rng: np.random.Generator) -> Floats:
    """Sample `num` rows around `mean` `(n,)`; an entry's variance is spread * mean * (1 - mean)."""
    if spread == 0:
        return np.tile(mean, (num, 1))
    if spread == 1:
        return rng.multinomial(1, mean, size=num).astype(np.float64)
    total = 1 / spread - 1
    rows = np.zeros((num, len(mean)))
    rows[:, mean > 0] = rng.dirichlet(total * mean[mean > 0], size=num)
    return rows


def _shares(mean: float, spread: float, num: int, rng: np.random.Generator) -> Floats:
    return _dirichlet(np.array([mean, 1 - mean]), spread, num, rng)[:, 0]
