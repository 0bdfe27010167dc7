"""The filter `jury`: a crowd that decides nothing says how model text stands beside human text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from textmad.curation.against_human import BEATS_HUMAN, human_to_beat, of_rows, shares_below
from textmad.curation.document_rng import document_uniforms
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.score_mixture import ScorerSetting
from textmad.curation.upvotes import Upvotes
from textmad.text.documents import concatenate, documents, take

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Jury:
    """Keep everything, and let a crowd vote on some candidates beside as many human documents.

    Nothing is learned from these votes, so they tell whether what a generation has learned also
    pleases those whom it was not made for: the same crowd on other documents, or a crowd of other
    taste. `documents` random candidates and as many human documents, prompted and cut alike, are
    voted on together, as by `upvotes`. The human ones are the same in every generation.

    The table gets `beats_human_<name>`: the share of these human documents that the candidate has a
    higher score than (equal ones count half); null for candidates that were not asked about.

    Attributes:
        name: of the crowd, in the column's name; letters, digits and _.
        votes: the crowd; `keep` and `choice` have no effect.
        documents: of each kind.
    """

    name: str = "crowd"
    votes: Upvotes = field(default_factory=Upvotes)
    documents: int = 200

    keeps_all = True  # so it needs no matched random control

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"name: {self.name}: expected lower-case letters, digits and _")
        if self.documents < 2:
            raise ValueError(f"documents: {self.documents}: expected at least 2")
        if self.votes.voters == "people":
            raise ValueError("votes.voters: people: a jury is simulated; give a number of voters")
        for name in ("keep", "choice"):
            if getattr(self.votes, name) != getattr(Upvotes(), name):
                raise ValueError(f"votes.{name}: has no effect: a jury decides nothing; delete it")

    @property
    def kept_share(self) -> float:
        """Of the documents: all."""
        return 1.0

    @property
    def scorer(self) -> ScorerSetting:
        """The scorer that the crowd votes by."""
        return self.votes.scorer

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge nothing, and add the column."""
        num = len(candidates)
        (draws,) = document_uniforms(candidates["id"][:], context.rng, 1)
        rows = np.argsort(draws, kind="stable")[: self.documents]
        human = human_to_beat(context, self.documents, "documents")
        asked = take(candidates, rows)
        beside = documents(
            {
                "id": [f"human-{index}" for index in range(len(human))],
                "text": human.texts,
                "prompt": human.prompts,
                "finished": human.finished,
            }
        )
        votes_rng = context.rng.spawn(1)[0]
        verdicts = self.votes(concatenate([asked, beside]), replace(context, rng=votes_rng))
        beats = shares_below(verdicts.score[: len(rows)], verdicts.score[len(rows) :])
        return Verdicts(
            np.ones(num, dtype=bool),
            np.zeros(num),
            columns={f"{BEATS_HUMAN}{self.name}": of_rows(num, rows, beats)},
        )
