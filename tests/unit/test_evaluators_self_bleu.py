"""Self-BLEU beside nltk's BLEU, document by document."""

import math
from dataclasses import replace

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from textmad import testing
from textmad.evaluators import SelfBleu
from textmad.evaluators.self_bleu import self_bleu
from textmad.testing import check_evaluator


def values(texts):
    return [m.value for m in self_bleu(texts)]


def by_nltk(texts):
    documents = [text.split() for text in texts]
    smooth = SmoothingFunction().method1
    return [
        np.mean(
            [
                sentence_bleu(
                    documents[:i] + documents[i + 1 :],
                    document,
                    weights=[1 / n] * n,
                    smoothing_function=smooth,
                )
                for i, document in enumerate(documents)
            ]
        )
        for n in (2, 3, 4)
    ]


def test_the_evaluator_keeps_the_contract():
    check_evaluator(SelfBleu())


def test_it_agrees_with_nltk():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.zipf(1.5, n) % 30) for n in rng.integers(1, 20, 25)]
    texts += ["nothing of this stands elsewhere", texts[3], "w1 w1 w1 w1 w1 w1 w1"]
    assert values(texts) == pytest.approx(by_nltk(texts), rel=1e-12)


def test_a_word_counts_no_oftener_than_some_other_document_has_it():
    # "a a" has one match of two words and none of its pairs, 0.1 of 1: sqrt(1/2 * 0.1). "a b" has
    # one of two words, and 0.1 of 1 pair: the same.
    assert values(["a a", "a b"])[0] == pytest.approx(math.sqrt(0.5 * 0.1))


def test_a_document_shorter_than_the_nearest_other_one_pays_for_it():
    # "a b" is all matched, and 2 words short of 3: exp(1 - 3 / 2). "a b c" has 2 of 3 words and
    # 1 of 2 pairs, and is longer than its only reference: sqrt(2/3 * 1/2).
    expected = (math.exp(1 - 3 / 2) + math.sqrt(1 / 3)) / 2
    assert values(["a b", "a b c"])[0] == pytest.approx(expected)


def test_documents_that_share_no_word_have_none_and_copies_have_all():
    assert values(["a b c d", "e f g h", ""]) == [0, 0, 0]
    assert values(["a b c d"] * 3) == pytest.approx([1, 1, 1])


def test_one_document_has_no_other():
    (two, *_) = self_bleu(["a b c"])
    assert math.isnan(two.value)
    assert two.note == "fewer than two documents"


def test_each_split_is_measured_on_as_many_of_its_first_documents():
    snapshot = testing.checks._snapshot()
    found = SelfBleu(documents=5)(replace(snapshot, texts=snapshot.texts | {"kept": ["x y"] * 60}))
    assert {m.n for m in found} == {5}
    assert [m.value for m in found if m.split == "drawn"] == values(snapshot.texts["drawn"][:5])
    missing = SelfBleu()(replace(snapshot, texts={}))
    assert {m.note for m in missing if m.split == "kept"} == {"too few kept documents"}
