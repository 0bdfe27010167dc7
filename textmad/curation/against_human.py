"""Model text against human text: which human text, and how often a candidate is above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmad.curation.document_rng import Floats
from textmad.curation.protocol import Context
from textmad.errors import CurationError
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

BEATS_HUMAN = "beats_human_"
"""Begins the columns with the share of human documents that a candidate is above."""


def human_to_beat(context: Context, num: int, setting: str) -> Passages:
    """Return `num` human documents, prompted and cut as samples are.

    They are those with the lowest ids, which are hashes of their texts: a choice at random that is
    the same in every generation and in all runs on one corpus.

    Raises:
        CurationError: there are not so many; the message names `setting`.
    """
    order = _by_id(context.human)
    texts = context.human.select_columns(["text"])
    found = Passages()
    for start in range(0, len(order), num):  # texts too short for a prompt are left out
        rows = order[start : start + num]
        found = found + context.as_sampled([texts[int(row)]["text"] for row in rows])
        if len(found) >= num:
            return found.first(num)
    raise CurationError(
        f"{setting}: {num}: the human training pool has only {len(found)} documents to compare "
        "with; lower it, or give a larger corpus"
    )


def human_to_learn(
    context: Context, num: int, spared: int, rng: np.random.Generator, setting: str
) -> list[str]:
    """Return `num` human texts at random, none of them among the `spared` ones to beat.

    Raises:
        CurationError: there are not so many; the message names `setting`.
    """
    rows = rng.permutation(_by_id(context.human)[spared:])
    texts = context.human.select_columns(["text"])
    found: list[str] = []
    for start in range(0, len(rows), num):
        some = [texts[int(row)]["text"] for row in rows[start : start + num]]
        found += context.as_sampled(some).texts
        if len(found) >= num:
            return found[:num]
    raise CurationError(
        f"{setting}: asks for {num} human documents, of which the human training pool has only "
        f"{len(found)}; lower it, or give a larger corpus"
    )


def shares_below(values: Floats, human: Floats) -> Floats:
    """Return the share of `human` below each of `values`, and half of the equal ones.

    Its mean is the probability that a value is above a human one (AUC): 0.5 where they are alike.

    >>> shares_below(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 2.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    ordered = np.sort(human)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    shares: Floats = (below + up_to) / (2 * len(ordered))
    return shares


def of_rows(num: int, rows: npt.NDArray[np.int64], values: Floats) -> npt.NDArray[np.object_]:
    """Return a column of `num` values, null but at `rows`."""
    found = np.full(num, None, dtype=object)
    found[rows] = values
    return found


def _by_id(human: Dataset) -> npt.NDArray[np.int64]:
    return np.argsort(np.array(human["id"][:], dtype=str), kind="stable")
