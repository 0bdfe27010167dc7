"""Lengths of documents: mean and entropy, by hand."""

import math
from dataclasses import replace

import pytest

from textmad import testing
from textmad.evaluators import Length
from textmad.evaluators.length import length_entropy


def test_documents_of_one_length_have_no_entropy_and_different_ones_have_the_most():
    assert length_entropy([7] * 5) == 0
    assert length_entropy([1, 2, 3, 4]) == pytest.approx(math.log(4))


def test_the_entropy_is_that_of_the_shares_in_nats():
    # Half of the documents have 8 words, a quarter each 9 and 10.
    expected = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    assert length_entropy([8, 8, 9, 10]) == pytest.approx(expected)


def test_every_split_is_measured_on_as_many_documents():
    snapshot = testing.checks._snapshot()
    num = snapshot.num_documents
    texts = ["tea milk"] * (num // 2) + ["tea"] * (num - num // 2) + ["far more words than"] * num
    found = Length()(replace(snapshot, texts=snapshot.texts | {"drawn": texts}))
    drawn = {m.metric: m for m in found if m.split == "drawn"}
    share = (num // 2) / num
    assert drawn["mean_length"].value == pytest.approx(1 + share)
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert drawn["length_entropy"].value == pytest.approx(entropy)
    assert {m.n for m in found} == {num}
    human = [m for m in found if m.split == "human"]
    assert all(m.low <= m.value <= m.high for m in human)


def test_a_missing_split_has_no_length():
    found = Length()(replace(testing.checks._snapshot(), texts={}))
    assert all(math.isnan(m.value) for m in found)
    assert {m.note for m in found if m.split == "kept"} == {"too few kept documents"}


def test_it_keeps_the_contract():
    testing.check_evaluator(Length())
