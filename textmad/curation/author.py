"""The filter `author`: of several drafts by the model, one is kept, before any crowd votes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from textmad.curation.document_rng import document_uniforms
from textmad.curation.people import collect_votes
from textmad.curation.protocol import Context, Verdicts, document
from textmad.curation.ranking import add_gumbel_noise, best_of_each
from textmad.curation.score_mixture import ScorerSetting, Units, check_scorer, score_quality
from textmad.curation.upvotes import check_noise
from textmad.errors import CurationError
from textmad.rating.ballot import Ballot
from textmad.text.documents import take

if TYPE_CHECKING:
    from datasets import Dataset

_REASON = "another draft was posted"
_INDEX = re.compile(r"-(\d+)$")  # of an id g<generation>-<index>


@dataclass(frozen=True)
class Author:
    """Keep, of every `drafts` documents that the model wrote in a row, the one its author prefers.

    Documents 0 to drafts - 1 are the drafts of the first slot, and so on, by the index in their
    ids, in whatever order they come. If earlier filters have rejected some, the author chooses
    among the others; a slot without drafts stays empty. The author of a slot picks draft i with
    probability exp(quality_i / noise) / sum_j exp(quality_j / noise), as in Ferbach et al.
    (2407.09499, equation 1); in `raw` units with noise 1, many drafts turn the model's
    distribution p into p e^r. The score is the quality with that noise, and the table gets
    `quality` and the scorers' own values, as by `upvotes`.

    With `chosen_by: people`, people see the drafts of a slot side by side, on a page in their
    browser, and choose the best one; the score is the share of the votes on a draft. Equal drafts
    are chosen from at random. The table gets the columns of the filter `people` but `rank` and
    `votes`.

    Attributes:
        drafts: for each slot, at least 2; at most 8 for people.
        chosen_by: `scorer` or `people`.
        ballot: what people are asked: of design best_of with `group` as large as `drafts`, or of
            design pairs for two drafts.
        scorer: as of `upvotes`: a name, names with weights, or a function.
        noise: scale of the author's noise (Gumbel) in units of quality; 0: always the best.
        units: of quality: `standard` (over the candidates) or `raw`.
    """

    drafts: int = 4
    scorer: ScorerSetting = "fluency"
    noise: float = 1.0
    units: Units = "standard"
    chosen_by: Literal["scorer", "people"] = "scorer"
    ballot: Ballot = field(default_factory=Ballot)

    def __post_init__(self) -> None:
        if self.drafts < 2:
            raise ValueError(f"drafts: {self.drafts}: expected at least 2")
        check_scorer(self.scorer)
        check_noise(self.noise)
        self._reject_of_other_authors()

    def _reject_of_other_authors(self) -> None:
        """Reject what is set for a scorer if people choose, and the other way round."""
        if self.chosen_by == "scorer":
            if self.ballot != Ballot():
                raise ValueError(
                    "ballot: has no effect while chosen_by is scorer; set chosen_by: people, or "
                    "delete it"
                )
            return
        for name in ("scorer", "noise", "units"):
            if getattr(self, name) != getattr(Author, name):
                raise ValueError(f"{name}: has no effect while chosen_by is people; delete it")
        if self.ballot.texts_per_item != self.drafts:
            raise ValueError(
                f"ballot: shows {self.ballot.texts_per_item} texts together, expected the "
                f"{self.drafts} drafts: set design: best_of with group: {self.drafts}, or design: "
                "pairs for two drafts"
            )
        if self.ballot.rounds != Ballot.rounds:
            raise ValueError("ballot.rounds: has no effect on drafts; delete it")

    @property
    def kept_share(self) -> float:
        """Of the documents."""
        return 1 / self.drafts

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates.

        Raises:
            WaitingForVotesError: people choose, and there are not enough votes yet.
        """
        order = np.argsort(_indices(candidates), kind="stable")
        candidates = take(candidates, order)
        slots = _indices(candidates) // self.drafts
        if self.chosen_by == "people":
            verdicts = self._ask_people(candidates, slots, context)
        else:
            scores = score_quality(self.scorer, self.units, candidates, context)
            (draws,) = document_uniforms(candidates["id"][:], context.rng, 1)
            score = add_gumbel_noise(scores.quality, self.noise, draws)
            columns = {"quality": scores.quality, **scores.rewards}
            verdicts = Verdicts(best_of_each(score, slots), score, _REASON, columns)
        return verdicts.take(np.argsort(order))

    def _ask_people(
        self, candidates: Dataset, slots: npt.NDArray[np.int64], context: Context
    ) -> Verdicts:
        """Return the verdicts of people on drafts that are sorted by slot."""
        groups = [rows.tolist() for rows in np.split(np.arange(len(slots)), _ends(slots))]
        # Nobody is asked about a draft that is the only one left.
        shown = [rows for rows in groups if len(rows) > 1]
        if not shown:
            raise CurationError(
                "author: no slot has two drafts to choose from: filters before it have rejected "
                "the others; remove them, or raise drafts"
            )
        votes = collect_votes(self.ballot, candidates, context, shown)
        (draws,) = document_uniforms(candidates["id"][:], context.rng.spawn(1)[0], 1)
        keep = best_of_each(votes.ups + draws / 2, slots)  # votes are whole numbers
        score = votes.ups / np.maximum(votes.exposure, 1)
        columns = {
            "ups": votes.ups,
            "downs": votes.downs,
            "exposure": votes.exposure,
            **votes.frozen,
        }
        return Verdicts(keep, score, _REASON, columns)


def _ends(slots: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return where each slot but the first begins, in slots that are sorted."""
    return np.flatnonzero(np.diff(slots)) + 1


def _indices(candidates: Dataset) -> npt.NDArray[np.int64]:
    """Return the index of each document in its generation, `(documents,)`, read from its id.

    Raises:
        CurationError: an id has no index.
    """
    indices = np.empty(len(candidates), dtype=np.int64)
    for row, name in enumerate(candidates["id"][:]):
        match = _INDEX.search(name)
        if match is None:
            raise CurationError(
                f"{document(candidates, row)} has no index in its id, so its slot is unknown: "
                "expected g<generation>-<index>, as candidates have"
            )
        indices[row] = int(match[1])
    return indices
