"""The held-out human text that generations are measured on: the same documents each time.

How much of it is scored is a number of tokens, or follows from the precision that is asked for.
Documents are the units that are sampled, and the tokens of one are alike. With `r` the loss of all
tokens and `e = nats - r * tokens` of each document, the standard error of `r` over `n` documents is

    sd(e) / (mean tokens * sqrt(n))

(Cochran, Sampling Techniques, 1977, section 6.4, a ratio of two sums). It is also the relative
standard error of the perplexity `exp(r)`, to first order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmad.evaluators.protocol import Snapshot, at_least
from textmad.text.documents import content_id, ids_of, take, token_counts
from textmad.text.hashes import hashes_of
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.protocol import TokenScores

NUM_TOKENS = 30_000

HeldOutSize: TypeAlias = int | str
"""Tokens, or the relative standard error of the base model's perplexity, such as "2%"."""

# What tells how much documents differ. Over n of them sd(e) is off by about 1 / sqrt(2 n), and the
# number of tokens by twice as much: 12 % of 260 documents, 26 % of 30.
_PILOT_TOKENS, _LEAST_PILOT_DOCUMENTS = 4_000, 30
_ROUNDED_TO = 1_000  # so that rounding errors of another machine choose the same number

_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")

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


def precision_of(size: HeldOutSize) -> float | None:
    """Return the relative standard error that a size asks for; None where it is a number of tokens.

    >>> precision_of("2.5%"), precision_of(30_000)
    (0.025, None)

    Raises:
        ValueError: it is no number of tokens and no precision.
    """
    if isinstance(size, int):
        at_least("held_out_tokens", size, 1)
        return None
    match = _PERCENT.fullmatch(size)
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError(
            f"held_out_tokens: {size}: expected a number of tokens, or a precision above 0% and "
            "below 100%, such as 2%"
        )
    return float(match[1]) / 100


def relative_error(nll: Sequence[np.ndarray]) -> float:
    """Return the relative standard error of the perplexity of some documents (module docstring).

    Raises:
        ValueError: fewer than two documents, which have no variance.
    """
    if len(nll) < 2:
        raise ValueError(
            f"held_out_tokens: {len(nll)} held-out document: expected at least 2 for a precision"
        )
    nats, tokens = np.array([row.sum() for row in nll]), np.array([len(row) for row in nll])
    excess = nats - nats.sum() / tokens.sum() * tokens
    sd = math.sqrt(float(excess @ excess) / (len(nll) - 1))
    return sd / (float(tokens.mean()) * math.sqrt(len(nll)))


def tokens_for(precision: float, nll: Sequence[np.ndarray]) -> int:
    """Return how many held-out tokens have this relative standard error, by a pilot's losses.

    Rounded up to whole thousands. The error falls with the square root of the documents.
    """
    num_tokens = sum(map(len, nll)) * (relative_error(nll) / precision) ** 2
    return math.ceil(num_tokens / _ROUNDED_TO) * _ROUNDED_TO


def pilot_texts(held_out: Dataset) -> list[str]:
    """Return the texts of the held-out documents that say how many tokens a precision needs."""
    texts: list[str] = held_out_subset(held_out, _PILOT_TOKENS, _LEAST_PILOT_DOCUMENTS)["text"][:]
    return texts


def num_held_out_tokens(snapshot: Snapshot, size: HeldOutSize) -> int:
    """Return how many held-out tokens are scored.

    For a precision, the base model's losses on a fixed pilot part of the held-out text say it. So
    it is the same number in all generations, and in all runs with this base model and this text.
    """
    precision = precision_of(size)
    if precision is None:
        return int(size)
    texts = snapshot.once("pilot_texts", lambda: pilot_texts(snapshot.held_out))

    def choose() -> int:
        return tokens_for(precision, snapshot.base.token_nll(texts))

    return snapshot.once_a_run(("held_out_tokens", precision, tuple(texts)), choose)


def held_out_subset(held_out: Dataset, num_tokens: int, least_documents: int = 1) -> Dataset:
    """Return id and text of the first whole documents that hold `num_tokens` tokens.

    At least `least_documents`, and all of them where they hold fewer. Their order is fixed by their
    ids. It depends on neither seed nor generation, so what changes between generations is the model
    and not the documents; and a larger `num_tokens` only adds documents.

    Raises:
        ValueError: no documents, or one without a token count.
    """
    if not len(held_out):
        raise ValueError("held-out text: no documents: expected at least one")
    order = _fixed_order(held_out)
    tokens = token_counts(held_out)[order]
    num_chosen = int(np.searchsorted(np.cumsum(tokens), num_tokens)) + 1
    num_chosen = max(num_chosen, least_documents)
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


def held_out_scores(snapshot: Snapshot, size: HeldOutSize) -> HeldOut:
    """The subset under the snapshot's model, scored once however many evaluators ask."""
    num_tokens = num_held_out_tokens(snapshot, size)

    def score() -> HeldOut:
        chosen = held_out_subset(snapshot.held_out, num_tokens)
        return HeldOut(chosen, snapshot.model.token_scores(chosen["text"][:]))

    return snapshot.once(("held_out_scores", num_tokens), score)


def held_out_losses(snapshot: Snapshot, sizes: Sequence[HeldOutSize]) -> pa.Table:
    """Return the loss of each held-out document of the largest of some sizes.

    So intervals can resample documents. The same ones are scored in all generations and runs, which
    makes differences paired.
    """
    most = max(num_held_out_tokens(snapshot, size) for size in sizes)
    held_out = held_out_scores(snapshot, most)
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
