"""Rows of documents: which lie together, how much is padding, and what each position holds."""

from collections import Counter

import numpy as np
import pytest
import torch

from textmad.models.causal_lm.batches import (
    IGNORED,
    Example,
    Limits,
    Rectangle,
    collate,
    micro_batches,
)

CPU = torch.device("cpu")


def test_rectangles_worked_by_hand() -> None:
    lengths = [3, 30, 10, 3, 9, 12]
    # By length 3 3 9 10 12 30. Behind the 3s a 9 would need 12 positions of padding; 10 beside 9
    # needs 1, and 12 beside both 3 + 2.
    assert micro_batches(lengths, Limits(100, 4, packed=True)) == [
        [[Rectangle([0, 3], 3), Rectangle([4, 2], 10), Rectangle([5], 12), Rectangle([1], 30)]]
    ]
    assert micro_batches(lengths, Limits(100, 5, packed=True)) == [
        [[Rectangle([0, 3], 3), Rectangle([4, 2, 5], 12), Rectangle([1], 30)]]
    ]
    # 6 + 20 tokens fill a row of 26; 12 and 30 do not go together.
    assert micro_batches(lengths, Limits(26, 4, packed=True)) == [
        [[Rectangle([0, 3], 3), Rectangle([4, 2], 10)]],
        [[Rectangle([5], 12)]],
        [[Rectangle([1], 30)]],
    ]


def test_a_network_that_reads_no_packed_rows_gets_a_rectangle_at_a_time() -> None:
    assert micro_batches([3, 9, 3], Limits(100, 0, packed=False)) == [
        [[Rectangle([0, 2], 3)]],
        [[Rectangle([1], 9)]],
    ]


def test_two_processes_take_every_other_document_and_one_may_have_nothing_left() -> None:
    # By length: document 0, 3, 4, 2, 1; the first process gets 0, 4, 1.
    assert micro_batches([3, 30, 10, 3, 9], Limits(12, 0, packed=True), 2) == [
        [[Rectangle([0], 3), Rectangle([4], 9)], [Rectangle([3], 3)]],
        [[Rectangle([1], 30)], [Rectangle([2], 10)]],
    ]
    assert micro_batches([7], Limits(12, 0, packed=True), 2) == [[[Rectangle([0], 7)], []]]


@pytest.mark.parametrize(
    ("num", "length", "max_tokens", "num_processes", "expected"),
    [(10, 4, 8, 1, 5), (10, 4, 11, 1, 5), (10, 4, 12, 1, 4), (10, 4, 8, 2, 3), (10, 4, 1, 1, 10)],
)
def test_documents_of_one_length_fill_their_rows(
    num: int, length: int, max_tokens: int, num_processes: int, expected: int
) -> None:
    limits = Limits(max_tokens, 8, packed=True)
    assert len(micro_batches([length] * num, limits, num_processes)) == expected


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("spare", [0, 8])
@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
@pytest.mark.parametrize("max_tokens", [1, 40, 300, 100_000])
def test_rows_hold_every_document_once_within_both_bounds(
    num_processes: int, max_tokens: int, spare: int, packed: bool
) -> None:
    rng = np.random.default_rng([num_processes, max_tokens, spare])
    for _ in range(10):
        lengths = rng.geometric(0.05, size=rng.integers(1, 80)).tolist()
        plan = micro_batches(lengths, Limits(max_tokens, spare, packed), num_processes)
        rows = [row for everyone in plan for row in everyone]
        dealt = Counter(i for row in rows for rectangle in row for i in rectangle.documents)
        assert dealt == Counter(range(len(lengths)))
        assert {len(everyone) for everyone in plan} == {num_processes}
        assert packed or max(map(len, rows)) == 1
        for row in rows:
            alone = len(row) == 1 and len(row[0].documents) == 1
            assert alone or sum(rectangle.tokens for rectangle in row) <= max_tokens
            for rectangle in row:
                own = [lengths[index] for index in rectangle.documents]
                assert max(own) == rectangle.length
                assert rectangle.tokens - sum(own) <= spare


def test_a_row_holds_documents_end_to_end_with_padding_behind_the_short_ones() -> None:
    examples = [
        Example(np.array([7, 8]), np.array([IGNORED, 9])),  # a prompt of one token
        Example(np.array([1, 2, 3]), np.array([2, 3, 4])),
        Example(np.array([5]), np.array([6])),
    ]
    batch = collate(examples, [Rectangle([2], 1), Rectangle([0, 1], 3)], CPU)
    assert batch.input_ids.tolist() == [[5, 7, 8, 0, 1, 2, 3]]
    assert batch.position_ids.tolist() == [[0, 0, 1, 2, 0, 1, 2]]
    # Neither the prompt (position 1) nor the padding (position 3) is learned.
    assert batch.learned.tolist() == [0, 2, 4, 5, 6]
    assert batch.labels.tolist() == [6, 9, 2, 3, 4]
    assert batch.layout.rectangles == ((1, 1), (2, 3))
    assert batch.layout.starts.tolist() == [0, 1, 4, 7]
    assert batch.layout.longest == 3
    assert batch.layout.starts.dtype == torch.int32  # as flash attention wants them
    assert batch.input_ids.dtype == batch.position_ids.dtype == batch.labels.dtype == torch.int64
