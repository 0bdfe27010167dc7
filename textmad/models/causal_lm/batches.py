"""The batches of training: documents end to end in one row, with almost no padding.

All layers but attention work on single tokens, so they take the row as it is. Attention works on
each document by itself (`packed_attention`). Documents of equal length form a rectangle, the shape
in which attention is fast; a few tokens of padding may save a rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from textmad.models.causal_lm.scoring import Row, windows

IGNORED = -100


class Example(NamedTuple):
    """One document as numbers; `labels[i]` is what position i has to predict."""

    input_ids: np.ndarray  # (time,) int64: start token, prompt, text
    labels: np.ndarray  # (time,) int64: prompt positions are IGNORED

    @property
    def num_targets(self) -> int:
        """Tokens that are learned from."""
        return int((self.labels != IGNORED).sum())


def examples_of(row: Row, context: int) -> list[Example]:
    """Return a document as it is learned: one example, or windows if it exceeds the context.

    >>> row = Row(ids=np.array([1, 5, 6, 7]), first=2)  # start token, prompt, text
    >>> [example.labels.tolist() for example in examples_of(row, context=8)]
    [[-100, 6, 7]]
    """
    examples = []
    for window in windows(row, context):
        labels = window.ids[1:].astype(np.int64)
        labels[: window.first - 1] = IGNORED
        examples.append(Example(window.ids[:-1].astype(np.int64), labels))
    return examples


class Rectangle(NamedTuple):
    """Documents side by side, each with padding behind it up to one length."""

    documents: list[int]
    length: int

    @property
    def tokens(self) -> int:
        """With the padding."""
        return len(self.documents) * self.length


class Limits(NamedTuple):
    """What bounds a micro-batch."""

    max_tokens: int  # with padding; one document may exceed it
    spare_tokens: int  # of padding that are cheaper than one more rectangle
    packed: bool  # whether rectangles share a row, or each has a forward pass to itself


class Layout(NamedTuple):
    """Where the documents of a row begin and end, as rectangles and as borders."""

    rectangles: tuple[tuple[int, int], ...]  # (documents, length), in order
    starts: torch.Tensor  # (documents + 1,) int32, of each document and of what would be next
    longest: int


class Batch(NamedTuple):
    """One forward pass, on the device."""

    input_ids: torch.Tensor  # (1, tokens)
    position_ids: torch.Tensor  # (1, tokens): from 0 in each document
    learned: torch.Tensor  # (targets,): positions in the row that have a label
    labels: torch.Tensor  # (targets,)
    layout: Layout


def micro_batches(
    lengths: Sequence[int], limits: Limits, num_processes: int = 1
) -> list[list[list[Rectangle]]]:
    """Cut a step's documents into micro-batches: `result[i][rank]`, indices into `lengths`.

    Sorted by length, the documents are dealt to the processes in turn, so that all read about as
    much. Every process gets as many micro-batches as the others; where its documents run out, the
    last ones are empty.
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    mine = [
        _rows(_rectangles(order[rank::num_processes], lengths, limits), limits)
        for rank in range(num_processes)
    ]
    num = max(map(len, mine))
    return [[rows[i] if i < len(rows) else [] for rows in mine] for i in range(num)]


def _rectangles(order: list[int], lengths: Sequence[int], limits: Limits) -> list[Rectangle]:
    """Group documents, in ascending order of length, into rectangles with little padding."""
    rectangles: list[Rectangle] = []
    for index in order:
        length = lengths[index]
        if rectangles:
            last = rectangles[-1]
            padding = sum(length - lengths[other] for other in last.documents)
            full = (len(last.documents) + 1) * length > limits.max_tokens
            if padding <= limits.spare_tokens and not full:
                rectangles[-1] = Rectangle([*last.documents, index], length)
                continue
        rectangles.append(Rectangle([index], length))
    return rectangles


def _rows(rectangles: list[Rectangle], limits: Limits) -> list[list[Rectangle]]:
    """Group rectangles into the rows of forward passes."""
    if not limits.packed:
        return [[rectangle] for rectangle in rectangles]
    rows: list[list[Rectangle]] = []
    tokens = 0
    for rectangle in rectangles:
        if not rows or tokens + rectangle.tokens > limits.max_tokens:
            rows.append([])
            tokens = 0
        rows[-1].append(rectangle)
        tokens += rectangle.tokens
    return rows


def collate(
    examples: Sequence[Example], rectangles: Sequence[Rectangle], device: torch.device
) -> Batch:
    """Lay the documents of `rectangles` end to end; return the tensors of one forward pass.

    Padding needs no mask: it lies behind its document, and no token sees what comes after it.
    """
    # Ids and labels, (tokens,), with padding behind the shorter documents.
    tokens = sum(rectangle.tokens for rectangle in rectangles)
    input_ids = np.zeros(tokens, np.int64)
    labels = np.full(tokens, IGNORED, np.int64)
    shapes = tuple((len(r.documents), r.length) for r in rectangles)
    begin = 0
    for rectangle in rectangles:
        for index in rectangle.documents:
            end = begin + len(examples[index].input_ids)
            input_ids[begin:end] = examples[index].input_ids
            labels[begin:end] = examples[index].labels
            begin += rectangle.length
    # Positions and borders of the documents.
    positions = np.concatenate([np.tile(np.arange(length), num) for num, length in shapes])
    lengths = np.concatenate([np.full(num, length) for num, length in shapes])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    learned = np.flatnonzero(labels != IGNORED)
    return Batch(
        _on(device, input_ids)[None],
        _on(device, positions)[None],
        _on(device, learned),
        _on(device, labels[learned]),
        Layout(shapes, _on(device, starts), int(lengths.max())),
    )


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    """Copy an array to the device, without waiting for what it is still computing."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
