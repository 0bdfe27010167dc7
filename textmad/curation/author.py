"""The filter `author`: of several drafts by the model, one is kept, before any crowd votes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmad.curation.document_rng import document_uniforms
from textmad.curation.protocol import Context, Verdicts, document
from textmad.curation.ranking import add_gumbel_noise, best_of_each
from textmad.curation.score_mixture import ScorerSetting, Units, check_scorer, score_quality
from textmad.curation.upvotes import check_noise
from textmad.errors import CurationError
from textmad.text.documents import take

if TYPE_CHECKING:
    from datasets import Dataset

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

    Attributes:
        drafts: for each slot, at least 2.
        scorer: as of `upvotes`: a name, names with weights, or a function.
        noise: scale of the author's noise (Gumbel) in units of quality; 0: always the best.
        units: of quality: `standard` (over the candidates) or `raw`.
    """

    drafts: int = 4
    scorer: ScorerSetting = "fluency"
    noise: float = 1.0
    units: Units = "standard"

    def __post_init__(self) -> None:
        if self.drafts < 2:
            raise ValueError(f"drafts: {self.drafts}: expected at least 2")
        check_scorer(self.scorer)
        check_noise(self.noise)

    @property
    def kept_share(self) -> float:
        """Of the documents."""
        return 1 / self.drafts

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        order = np.argsort(_indices(candidates), kind="stable")
        candidates = take(candidates, order)
        scores = score_quality(self.scorer, self.units, candidates, context)
        (draws,) = document_uniforms(candidates["id"][:], context.rng, 1)
        score = add_gumbel_noise(scores.quality, self.noise, draws)
        keep = best_of_each(score, _indices(candidates) // self.drafts)
        columns = {"quality": scores.quality, **scores.rewards}
        verdicts = Verdicts(keep, score, "another draft was posted", columns)
        return verdicts.take(np.argsort(order))


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
