"""A classifier of texts on the base model: a low-rank adapter, and two logits in place of words.

The output layer is exchanged for one of two rows, read at the end token of each text. So a
document is a training example like any other, with one target, and the training loop is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from textmad.models.causal_lm import lora
from textmad.models.causal_lm.batches import IGNORED, Example, Limits, collate, micro_batches
from textmad.models.causal_lm.training import train
from textmad.models.distributed import processes
from textmad.recipe import LoraSettings, TrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from textmad.models.causal_lm.scoring import Row

_BATCH = 16  # documents of an optimizer step
_PASS_TOKENS, _SPARE_TOKENS = 8192, 256  # of a forward pass, with and for padding

Probabilities = npt.NDArray[np.float64]


class Classifier:
    """A network with two logits, and how it is read."""

    def __init__(self, network: torch.nn.Module, context: int, *, bfloat16: bool) -> None:
        self._network, self._context, self._bfloat16 = network, context, bfloat16

    @torch.inference_mode()
    def probabilities(self, rows: Sequence[Row]) -> Probabilities:
        """Return the probability that each row is of the second kind, `(rows,)`."""
        probabilities = np.empty(len(rows))
        examples = [_example(row, 0, self._context) for row in rows]
        lengths = [len(example.input_ids) for example in examples]
        limits = Limits(_PASS_TOKENS, _SPARE_TOKENS, packed=False)
        for ((rectangle,),) in micro_batches(lengths, limits) if rows else []:
            batch = collate(examples, [rectangle], processes.device())
            [shape] = batch.layout.rectangles
            with torch.autocast(processes.device().type, torch.bfloat16, enabled=self._bfloat16):
                # Padding lies behind the end token, which does not see it.
                logits = self._network(
                    input_ids=batch.input_ids.view(shape), use_cache=False
                ).logits
            ends = logits.flatten(0, 1)[batch.learned].double()
            probabilities[rectangle.documents] = ends.softmax(-1)[:, 1].cpu().numpy()
        return probabilities


def fit_classifier(
    base: PreTrainedModel,
    settings: LoraSettings,
    rows: Sequence[Row],
    labels: Sequence[bool],
    *,
    context: int,
    epochs: float,
    learning_rate: float,
    seed: int,
    bfloat16: bool = False,
) -> Classifier:
    """Train an adapter and a head on `rows`, by this process alone; `base` stays as it is.

    The head begins at zero: at first every text is of either kind with equal probability.
    """
    examples = [_example(row, int(label), context) for row, label in zip(rows, labels, strict=True)]
    how = TrainSettings(epochs=epochs, batch_tokens=_BATCH, learning_rate=learning_rate)
    with processes.alone(), torch.random.fork_rng():
        adapted = lora.attach(base, settings, seed=seed)
        network = adapted.get_base_model()
        head = torch.nn.Linear(network.get_output_embeddings().in_features, 2)
        for parameter in head.parameters():
            torch.nn.init.zeros_(parameter)
        network.set_output_embeddings(head)
        train(adapted, examples, how, seed=seed, bfloat16=bfloat16)
    return Classifier(adapted.requires_grad_(False), context, bfloat16=bfloat16)


def _example(row: Row, label: int, context: int) -> Example:
    """Start token, text and end token, whose target is the kind; a long text loses its end."""
    ids = np.concatenate([row.ids[:-1][: context - 1], row.ids[-1:]]).astype(np.int64)
    labels = np.full(len(ids), IGNORED, np.int64)
    labels[-1] = label
    return Example(ids, labels)
