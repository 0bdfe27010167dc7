"""Lexical diversity as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate

from textmad.evaluators.diversity import diversity
from textmad.evaluators.lexical import overlap
from textmad.text.words import cut_texts

_DESCRIPTION = """
Distinct-n, n-gram entropy, MATTR, MTLD, HD-D, compression ratio, Zipf and Heaps exponents, the
share of repeated documents, and verbatim overlap with a training set. Most depend on the length of
the text: compare corpora at the same `num_words`.
"""
_INPUTS = """
Args:
    predictions (list of str): the documents.
    num_words (int, optional): measure exactly the first so many words; NaN where there are fewer.
    mattr_window (int): words in a window of MATTR.
    training (list of str, optional): text to look for verbatim overlap in.
    overlap_words (int): words of an n-gram that overlaps.
Returns: one value for each metric.
"""


class TextmadDiversity(evaluate.Metric):  # type: ignore[misc]
    """`compute(predictions=texts, num_words=..., training=...)`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(
        self,
        predictions: list[str],
        num_words: int | None = None,
        mattr_window: int = 50,
        training: list[str] | None = None,
        overlap_words: int = 13,
    ) -> dict[str, float]:
        found = {m.metric: m.value for m in diversity(predictions, num_words, mattr_window)}
        if training is not None:
            cut = predictions if num_words is None else cut_texts(predictions, num_words)
            found["overlap"] = overlap(cut, training, overlap_words)
        return found
