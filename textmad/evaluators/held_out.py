"""The held-out human text that generations are measured on: the same documents each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmad.evaluators.protocol import Snapshot
from textmad.text.documents import content_id, ids_of, take, token_counts
from textmad.text.hashes import hashes_of
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.protocol import TokenScores

NUM_TOKENS = 30_000


LOSSES_SCHEMA = pa.schema(
    [
        ("document", pa.string()),  # its id, the same in all runs on one corpus
        ("nats", pa.float64()),  # summed over the target tokens, end token included
        ("tokens", pa.int32()),
    ]
)


class HeldOut(NamedTuple):
    """Held-out documents and what the snapshot's model makes of each of their tokens."""

    documents: Dataset  # id and text
    scores: TokenScores

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        texts: list[str] = self.documents["text"][:]
        return texts


def held_out_subset(held_out: Dataset, num_tokens: int) -> Dataset:
    """Return id and text of the first whole documents that hold `num_tokens` tokens.

    All of them where they hold fewer. Their order is fixed by their ids. It depends on neither seed
    nor generation, so what changes between generations is the model and not the documents; and a
    larger `num_tokens` only adds documents.

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
    return chosen


def reference_passages(snapshot: Snapshot, num_documents: int) -> Passages:
    """Return held-out documents that text is compared with, at most `num_documents`.

    They are of the half of the held-out text that is no part of the human split, prompted and cut
    as drawn text is, and the same in every generation.
    """

    def read() -> Passages:
        rows = half_of_held_out(snapshot.held_out, 0)
        # Some may be too short for a prompt.
        chosen = take(snapshot.held_out.select_columns(["text"]), rows[: 4 * num_documents])
        return snapshot.as_sampled(chosen["text"][:]).first(num_documents)

    return snapshot.once(("reference_passages", num_documents), read)


def half_of_held_out(held_out: Dataset, half: Literal[0, 1]) -> npt.NDArray[np.int64]:
    """Return the rows of half of the held-out documents, in an order fixed by their ids.

    Half 0 is what other text is compared with, half 1 the human split.
    """
    return _fixed_order(held_out)[half::2]


def held_out_scores(snapshot: Snapshot, num_tokens: int) -> HeldOut:
    """The subset under the snapshot's model, scored once however many evaluators ask."""

    def score() -> HeldOut:
        chosen = held_out_subset(snapshot.held_out, num_tokens)
        return HeldOut(chosen, snapshot.model.token_scores(chosen["text"][:]))

    return snapshot.once(("held_out_scores", num_tokens), score)


def held_out_losses(snapshot: Snapshot, num_tokens: int) -> pa.Table:
    """Return the loss of each held-out document, so that intervals can resample documents.

    The same documents are scored in all generations and runs, which makes differences paired.
    """
    held_out = held_out_scores(snapshot, num_tokens)
    nll = held_out.scores.nll
    columns = {
        "document": list(ids_of(held_out.documents)),
        "nats": [float(row.sum()) for row in nll],
        "tokens": [len(row) for row in nll],
    }
    return pa.table(columns, schema=LOSSES_SCHEMA)


def _fixed_order(held_out: Dataset) -> npt.NDArray[np.int64]:
    """By a hash of the documents' ids."""
    return np.argsort(hashes_of(map(content_id, ids_of(held_out))), kind="stable")
