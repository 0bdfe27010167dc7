"""The held-out human text that generations are measured on: the same documents each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.evaluators.protocol import Snapshot
from textmad.text.documents import content_id, ids_of, take, token_counts
from textmad.text.hashes import hashes_of

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.protocol import TokenScores

NUM_TOKENS = 30_000


class HeldOut(NamedTuple):
    """Held-out texts and what the snapshot's model makes of each of their tokens."""

    texts: list[str]
    scores: TokenScores


def held_out_subset(held_out: Dataset, num_tokens: int) -> list[str]:
    """Whole documents, in an order fixed by their ids, until they hold `num_tokens` tokens.

    All of them where they hold fewer. The order depends on neither seed nor generation, so what
    changes between generations is the model and not the documents; and a larger `num_tokens`
    only adds documents.

    Raises:
        ValueError: no documents, or one without a token count.
    """
    if not len(held_out):
        raise ValueError("held-out text: no documents: expected at least one")
    order = _fixed_order(held_out)
    tokens = token_counts(held_out)[order]
    num_chosen = int(np.searchsorted(np.cumsum(tokens), num_tokens)) + 1
    chosen = take(held_out.select_columns(["id", "text"]), order[:num_chosen])
    for place in np.flatnonzero(tokens[:num_chosen] < 1)[:1].tolist():
        raise ValueError(
            f"held-out document {chosen[place]['id']}: tokens: {tokens[place]}: expected at least "
            "1; count the tokens of the corpus with the run's tokenizer first"
        )
    texts: list[str] = chosen["text"][:]
    return texts


def reference_texts(snapshot: Snapshot, num_documents: int) -> list[str]:
    """The first held-out documents in that order, as many as there are of `num_documents`.

    Human text that no model has learned and that no generation changes: what text is compared
    with where a measure needs a reference, human training text too.
    """

    def read() -> list[str]:
        chosen = _fixed_order(snapshot.held_out)[:num_documents]
        texts: list[str] = take(snapshot.held_out.select_columns(["text"]), chosen)["text"][:]
        return texts

    return snapshot.once(("reference_texts", num_documents), read)


def held_out_scores(snapshot: Snapshot, num_tokens: int) -> HeldOut:
    """The subset under the snapshot's model, scored once however many evaluators ask."""

    def score() -> HeldOut:
        texts = held_out_subset(snapshot.held_out, num_tokens)
        return HeldOut(texts, snapshot.model.token_scores(texts))

    return snapshot.once(("held_out_scores", num_tokens), score)


def _fixed_order(held_out: Dataset) -> npt.NDArray[np.int64]:
    """By a hash of the documents' ids."""
    return np.argsort(hashes_of(map(content_id, ids_of(held_out))), kind="stable")
