"""Selection differential and intensity, by hand."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from textmad import testing
from textmad.evaluators import Selection
from textmad.evaluators.selection import document_traits
from textmad.text.documents import as_dataset, as_table, documents


def judged(texts, kept, **columns):
    table = as_table(documents({"text": texts})).append_column("kept", pa.array(kept))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.float64()))
    return as_dataset(table)


def measured(candidates):
    snapshot = replace(testing.checks._snapshot(), candidates=candidates)
    return {(m.metric, m.bin): m for m in Selection()(snapshot)}


def test_the_differential_is_kept_less_all_and_the_intensity_in_deviations():
    texts = ["a", "a b", "a b c", "a b c d"]  # mean 2.5, variance 1.25
    found = measured(judged(texts, [False, False, True, True], reward_x=[1, 1, 1, 5]))
    differential = found["selection_differential", "length"]
    assert (differential.value, differential.n) == (1.0, 2)
    assert found["selection_intensity", "length"].value == pytest.approx(1 / math.sqrt(1.25))
    assert found["selection_differential", "reward x"].value == 1.0  # 3 less 2


def test_documents_that_an_earlier_filter_rejected_have_no_reward():
    candidates = judged(["a"] * 3, [False, False, True], reward_x=[None, 1.0, 3.0])
    length, reward = document_traits(candidates)
    assert (length.name, len(length.values)) == ("length", 3)
    assert (reward.name, reward.values.tolist(), reward.kept.tolist()) == (
        "reward x",
        [1, 3],
        [False, True],
    )
    assert reward.differential == 1.0


def test_without_a_filter_nothing_is_selected():
    found = measured(judged(["a", "a b"], [True, True]))
    assert found["selection_differential", "length"].value == 0


def test_what_cannot_be_measured_says_why():
    alike = measured(judged(["a", "b"], [True, False]))
    assert alike["selection_intensity", "length"].note == "all documents are alike"
    nothing = measured(judged(["a", "a b"], [False, False]))
    assert nothing["selection_differential", "length"].note == "nothing was kept"
    empty = measured(documents({"text": []}))
    assert {m.note for m in empty.values()} == {"no candidates"}
    assert np.isnan([m.value for m in empty.values()]).all()


def test_it_keeps_the_contract():
    testing.check_evaluator(Selection())
