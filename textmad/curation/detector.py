"""The detector: documents are kept for looking human, by one of three methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from textmad.curation.controls import check_kept_share
from textmad.curation.document_rng import document_uniforms
from textmad.curation.protocol import Context, Verdicts
from textmad.curation.ranking import Choice, choose
from textmad.detection import Known, Method, Models, first_by_hash, human_likeness, model_log_odds
from textmad.errors import CurationError
from textmad.text.documents import MODEL, content_id, take
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

_MOST_KNOWN = 1_000  # documents of each origin: more cost time and tell little more


@dataclass(frozen=True)
class Detector:
    """Keep documents that look human.

    The score is the method's own value (`textmad.detection.human_likeness`), higher being more
    human. To resample, and for the method `trained`, texts of known origin are needed: documents
    of the human training pool, and as many model texts, of the candidates that are labelled so and
    of the generation before. No text is judged by what was learned from it. The table then also
    gets `model_probability`, calibrated for human and model text in equal numbers.

    Attributes:
        method: `curvature` (Fast-DetectGPT), `cross_perplexity` (Binoculars) or `trained`.
        use: `drop`: the share that looks most like a model's goes. `resample`: documents are drawn
            one after another, without replacement, with probability proportional to
            (1 - p)^exponent, p being the probability that a model wrote it (Drayson et al.,
            2502.15654, who draw with replacement).
        keep: share, above 0 and at most 1; exactly `round(keep * documents)` are kept.
        exponent: of the weights, above 0; the larger, the nearer to `drop`.
    """

    method: Method = "curvature"
    use: Literal["drop", "resample"] = "drop"
    keep: float = 0.5
    exponent: float = 1.0

    def __post_init__(self) -> None:
        check_kept_share(self.keep)
        if not 0 < self.exponent < np.inf:
            raise ValueError(f"exponent: {self.exponent:g}: expected a finite number above 0")
        if self.exponent != 1 and self.use == "drop":
            raise ValueError(
                f"exponent: {self.exponent:g}: has no effect while use is drop; set "
                "use: resample, or delete it"
            )

    @property
    def kept_share(self) -> float:
        """Of the documents."""
        return self.keep

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        passages, ids = Passages.of(candidates), candidates["id"][:]
        known_human = known_model = Passages()
        informed = self.use == "resample" or self.method == "trained"
        if informed:
            known_human, known_model = _known(candidates, context)
        known = Known(known_human.texts, known_model.texts)
        models = Models(context.base_token_moments, context.token_nll, context.cross_entropy)
        everything = passages + known_human + known_model
        likeness = human_likeness(self.method, everything, models, known)
        score, human, model = np.split(likeness, [len(passages), len(passages) + len(known_human)])
        columns, weight, draws = {}, score, []
        if informed:
            odds = model_log_odds(score, human, model)
            columns["model_probability"] = 1 / (1 + np.exp(-odds))
        if self.use == "resample":
            weight = -self.exponent * np.logaddexp(0, odds)  # log (1 - p)^exponent
            draws = list(document_uniforms(ids, context.rng, 1))
        ranking = np.lexsort((np.array(ids, dtype=str), -score))  # the last key first
        choice = Choice("softmax" if self.use == "resample" else "top")
        keep = choose(choice, weight, ranking, self.keep, draws)
        return Verdicts(keep, score, self._reason(), columns)

    def _reason(self) -> str:
        if self.use == "drop":
            return f"not among the {self.keep:.4g} that look most human by {self.method}"
        return f"not among the {self.keep:.4g} drawn for looking human by {self.method}"


def _known(candidates: Dataset, context: Context) -> tuple[Passages, Passages]:
    """Return texts of the human training pool, cut as samples are, and as many model texts.

    Both are chosen by content hash.

    Raises:
        CurationError: no model text is labelled so, and none is earlier.
    """
    labelled = np.flatnonzero(np.array(candidates["origin"][:], dtype=str) == MODEL)
    pools = [take(candidates, labelled)]
    if context.generation > 0:
        pools.append(context.earlier(context.generation - 1))
    written = {row[0]: row for pool in pools for row in Passages.of(pool).rows()}
    if not written:
        raise CurationError(
            "no model text is known to learn from: no candidate is labelled as a model's, and "
            "there is none of the generation before; choose what needs none (method: curvature or "
            "cross_perplexity, use: drop)"
        )
    texts = sorted(written, key=content_id)[: min(_MOST_KNOWN, len(context.human))]
    # Some of the human texts may be too short for a prompt.
    human = context.as_sampled(first_by_hash(context.human, 4 * len(texts))).first(len(texts))
    return human, Passages.of_rows(written[text] for text in texts[: len(human)])
