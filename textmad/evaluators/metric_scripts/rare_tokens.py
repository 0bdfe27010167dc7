"""The fate of rare tokens as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate
import numpy as np

from textmad.evaluators.rare_tokens import loss_by_bin, rare_tokens, text_tokens

_DESCRIPTION = """
Rare-token rate, surviving rare types and the human mass of types that are not found; and the loss
by frequency bin where `nll` is given. Rare are the rarest types that make up a tenth of `human`.
"""
_INPUTS = """
Args:
    predictions (list of list of int): token ids of each document, its end token last.
    human (list of list of int): token ids of human text, documents likewise: what is rare there.
    num_tokens (int, optional): measure the first so many tokens, end tokens left out.
    nll (list of list of float, optional): nats of each token of `predictions`.
Returns: one value for each metric; "loss/<bin>" for the loss by bin.
"""


class TextmadRareTokens(evaluate.Metric):  # type: ignore[misc]
    """`compute(predictions=ids, human=ids, num_tokens=..., nll=...)`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("int32"))}),
        )

    def _compute(
        self,
        predictions: list[list[int]],
        human: list[list[int]],
        num_tokens: int | None = None,
        nll: list[list[float]] | None = None,
    ) -> dict[str, float]:
        tokens = [np.array(ids, np.int32) for ids in predictions]
        counts = np.bincount(text_tokens([np.array(ids, np.int32) for ids in human]))
        ids = text_tokens(tokens)
        if num_tokens is not None and len(ids) < num_tokens:
            raise ValueError(f"predictions: {len(ids)} tokens: expected at least {num_tokens}")
        found = rare_tokens(ids[:num_tokens], counts)
        if nll is not None:
            found += loss_by_bin([np.array(row) for row in nll], tokens, counts)
        return {f"{m.metric}/{m.bin}" if m.bin else m.metric: m.value for m in found}
