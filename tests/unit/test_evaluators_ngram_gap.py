"""The gap between two texts' n-grams, held against values worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from textmad import testing
from textmad.evaluators import NgramGap
from textmad.evaluators.ngram_gap import jensen_shannon_bits, ngram_gap
from textmad.testing import check_evaluator


@pytest.fixture(scope="module")
def snapshot():
    return testing.checks._snapshot()


def values(found):
    return [m.value for m in found]


def test_the_evaluator_keeps_the_contract():
    check_evaluator(NgramGap())


def test_the_gap_of_half_the_words_is_that_of_the_mixture():
    # p = (1/2, 1/2, 0), q = (1/2, 0, 1/2), mixture (1/2, 1/4, 1/4): half of each distribution is
    # coded twice as dear as it need be, 0.5 * log2(2) bits.
    assert ngram_gap(["tea or"], ["tea and"])[0].value == pytest.approx(0.5)


def test_the_divergence_agrees_with_scipy():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 20, 300), rng.integers(5, 30, 200)
    shares = [np.bincount(part, minlength=30) for part in (one, other)]
    assert jensen_shannon_bits(one, other) == pytest.approx(jensenshannon(*shares, base=2) ** 2)


def test_a_text_has_no_gap_to_itself_and_all_of_it_to_another_language():
    texts = ["the cat sat on the mat", "tea at ten"]
    assert values(ngram_gap(texts, texts[::-1])) == pytest.approx([0, 0, 0])
    assert values(ngram_gap(texts, ["die Katze trinkt nie"])) == pytest.approx([1, 1, 1])


def test_the_same_words_in_another_order_differ_in_pairs_alone():
    # Pairs: ab bc | cb ba share none.
    assert values(ngram_gap(["a b c"], ["c b a"])) == pytest.approx([0, 1, 1])


def test_ngrams_do_not_cross_the_border_of_a_document():
    pair = ngram_gap(["a b", "c d"], ["a b c d"])[1]
    # p = (ab, cd) half each; q = (ab, bc, cd) a third each; m = 5/12, 1/6, 5/12.
    p, q = np.array([1 / 2, 0, 1 / 2]), np.array([1 / 3] * 3)
    assert pair.value == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert pair.n == 2


def test_both_texts_are_cut_to_the_words_asked_for():
    assert values(ngram_gap(["a b c x y z"], ["a b c d e f"], num_words=3)) == [0, 0, 0]
    short = ngram_gap(["a b c"], ["a b"], num_words=3)
    assert [m.note for m in short] == ["2 words, 3 needed"] * 3
    assert all(math.isnan(m.value) for m in short)


def test_a_text_without_a_pair_has_no_gap_of_pairs():
    one, two, _ = ngram_gap(["a", "b"], ["a b c"])
    assert one.value > 0
    assert math.isnan(two.value)
    assert two.note == "no document of 2 words"


def test_text_is_held_against_as_many_words_of_held_out_text(snapshot):
    # Its 40 held-out documents hold about 1,000 words, so 400 of them are read, and of 10 all.
    whole = NgramGap()(snapshot)
    assert {m.n for m in whole if m.metric == "ngram_gap_1"} == {400}
    few = replace(snapshot, held_out=snapshot.held_out.select(range(10)))
    num_words = sum(len(text.split()) for text in few.held_out["text"])
    assert {m.n for m in NgramGap()(few) if m.metric == "ngram_gap_1"} == {num_words} != {400}


def test_other_human_text_is_nearer_than_text_with_a_tenth_of_its_words_replaced(snapshot):
    odd = [" ".join(w if i % 10 else "zzz" for i, w in enumerate(text.split())) for text in
           snapshot.texts["human"]]  # fmt: skip
    found = NgramGap()(replace(snapshot, texts=snapshot.texts | {"drawn": odd}))
    gap = {(m.split, m.metric): m.value for m in found}
    assert gap["drawn", "ngram_gap_1"] > gap["human", "ngram_gap_1"] + 0.02
