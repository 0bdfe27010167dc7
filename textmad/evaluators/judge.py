"""How likely text is to a model that has no other part in the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textmad.evaluators.perplexity import corpus_perplexity
from textmad.evaluators.protocol import REFERENCES, Measurement, Snapshot
from textmad.evaluators.references import Rows, compared_passages, measure_compared
from textmad.models.base_files import base_digest, whole_base
from textmad.recipe import ModelSettings


@dataclass(frozen=True)
class Judge:
    """Measure the perplexity of every compared split under a model other than the base model.

    The base model samples the first text, scores, votes and filters. A judge does none of that, so
    text that suits the base model alone gains nothing with it. Prompts and ends count as in
    `base_perplexity`. A token is one of the judge's own, so values of different judges are not
    comparable.

    Attributes:
        model: a folder or a Hub id of a causal language model.
    """

    model: str

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model: expected a folder or a Hub id")

    def sources(self) -> dict[str, str]:
        """Digest of the judge's files."""
        settings = ModelSettings(base=self.model, lora=None)
        return {f"judge {self.model}": base_digest(whole_base(settings))}

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure each split."""

        def measure(split: str, rows: Rows) -> list[Measurement]:
            nll = self._nll(snapshot, split)
            return [_perplexity([nll[row] for row in rows[: snapshot.num_documents]])]

        return measure_compared(snapshot, measure, fixed=self)

    def _nll(self, snapshot: Snapshot, split: str) -> list[np.ndarray]:
        """Return the nats of each token of each text under the judge."""
        passages = compared_passages(snapshot, split)

        def score() -> list[np.ndarray]:
            judge = snapshot.open_judge(self.model)
            nll = judge.token_nll(list(passages.texts), *passages.prompt_arguments())
            return passages.without_unwritten_ends(nll)

        once = snapshot.once_a_run if split in REFERENCES else snapshot.once
        return once(("judge", self.model, passages), score) if passages else []


def _perplexity(nll: Sequence[np.ndarray]) -> Measurement:
    if not nll:
        return Measurement("judge_perplexity", math.nan, note="no documents")
    return Measurement("judge_perplexity", corpus_perplexity(nll), n=sum(map(len, nll)))
