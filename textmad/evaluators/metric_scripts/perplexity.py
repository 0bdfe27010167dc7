"""Corpus perplexity, loss and bits per byte as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate
import numpy as np

from textmad.evaluators.perplexity import perplexity

_DESCRIPTION = """
Perplexity, loss (nats per token) and bits per byte of a corpus: nats and tokens are summed over
all texts and divided once.
"""
_INPUTS = """
Args:
    nll (list of list of float): nats of each target token of each text, end token included.
    texts (list of str): the texts.
    correct (list of list of bool, optional): whether the token was the most likely one.
Returns: perplexity, loss, bits_per_byte, tokens, and accuracy where `correct` is given.
"""


class TextmadPerplexity(evaluate.Metric):  # type: ignore[misc]
    """`compute(nll=..., texts=..., correct=...)`."""

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "nll": datasets.Sequence(datasets.Value("float64")),
            "texts": datasets.Value("string"),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(
        self, nll: list[list[float]], texts: list[str], correct: list[list[bool]] | None = None
    ) -> dict[str, float]:
        hits = None if correct is None else [np.array(row, bool) for row in correct]
        found = perplexity([np.array(row, np.float64) for row in nll], texts, hits)
        return {m.metric: m.value for m in found} | {"tokens": found[0].n}
