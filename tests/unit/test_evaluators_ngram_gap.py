"""The gap between two texts' n-grams, held against values worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from textmad import testing
from textmad.auditing.audit_rows import Part, _audit_row
from textmad.auditing.reference_metrics import Sizes
from textmad.evaluators import Measurement, NgramGap
from textmad.evaluators.held_out import reference_passages
from textmad.evaluators.ngram_gap import jensen_shannon_bits, ngram_gap
from textmad.evaluators.reference_range import range_of_gaps, reference_range
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
    # Half of its 40 held-out documents hold about 500 words, so 400 of them are read; of 10, all.
    whole = NgramGap()(snapshot)
    assert {m.n for m in whole if m.metric == "ngram_gap_1"} == {400}
    few = replace(snapshot, held_out=snapshot.held_out.select(range(10)))
    num_words = sum(len(text.split()) for text in reference_passages(few, 10).texts)
    assert {m.n for m in NgramGap()(few) if m.metric == "ngram_gap_1"} == {num_words} != {400}


def test_other_human_text_is_nearer_than_text_with_a_tenth_of_its_words_replaced(snapshot):
    odd = [" ".join(w if i % 10 else "zzz" for i, w in enumerate(text.split())) for text in
           snapshot.texts["human"]]  # fmt: skip
    found = NgramGap()(replace(snapshot, texts=snapshot.texts | {"drawn": odd}))
    gap = {(m.split, m.metric): m.value for m in found}
    assert gap["drawn", "ngram_gap_1"] > gap["human", "ngram_gap_1"] + 0.02


# --- the interval of a reference ------------------------------------------------------------


def gaps_of_two_texts(rng, in_common, num):
    """Gaps of 20 samples of half a human text, and of another text: those of `in_common` n-grams.

    A document has a Poisson number of n-grams in common with the other text, whose text has `num`.
    """
    of_documents = rng.poisson(in_common / 60, 120)
    halves = [rng.permutation(of_documents)[:60].sum() for _ in range(20)]
    return [1 - k / num for k in halves], 1 - rng.poisson(in_common) / num


@pytest.mark.parametrize("in_common", [0.3, 1.0, 3.0])
def test_the_interval_holds_another_text_where_few_ngrams_are_in_common(in_common):
    """With a true rate of 93 % fewer than 442 of 500 hold in 1 of 10,000 cases.

    An interval of the gaps themselves held 439 where 0.3 n-grams were in common.
    """
    rng, num_held, num = np.random.default_rng(0), 0, 180
    for _ in range(500):
        values, gap = gaps_of_two_texts(rng, in_common, num)
        found = range_of_gaps(values, num, 0.5, df=8)
        num_held += found.low <= gap <= found.high
    assert num_held >= 442


def test_a_reference_without_a_common_ngram_leaves_room_for_three():
    found = range_of_gaps([1.0] * 20, 180, 0.5, df=8)
    # Square roots of counts: sqrt(3/8) for none, with the standard deviation 1/2 of Poisson's
    # counts times sqrt(1 + 0.5 + 0.5 / 20); t with 8 degrees of freedom has 2.5 % beyond 2.306.
    most = (math.sqrt(3 / 8) + 2.306004 * math.sqrt(1.525) / 2) ** 2 - 3 / 8
    assert found.low == pytest.approx(1 - most / 180)
    assert 3 < most < 4
    assert found.high > 1
    assert found.p(found.low) == pytest.approx(0.05)
    # Rounding left the sum of a divergence above 1.
    assert found.p(1 + 1e-15) == found.p(1.0) == pytest.approx(1.0)


def test_a_gap_with_ten_ngrams_in_common_or_more_is_no_count():
    values = [1 - k / 100 for k in (9, 10, 11)]
    assert range_of_gaps(values, 100.001, 0.5) == reference_range(values, 0.5, none=1.0)
    assert range_of_gaps(values, 99.999, 0.5).one == pytest.approx(-1 / 100, rel=1e-4)


def test_missing_gaps_have_no_range():
    assert math.isnan(range_of_gaps([1.0, math.nan], 10, 0.5).low)


def test_the_evaluator_and_the_audit_compare_few_common_ngrams_as_counts():
    human = [f"{i}a {i}b {i}c {i}d" for i in range(30)]
    snapshot = replace(
        testing.checks._snapshot(), texts={"human": human}, prompts={}, finished={},
        num_documents=10, num_words=40,
    )  # fmt: skip
    triples = [m for m in NgramGap()(snapshot) if (m.metric, m.split) == ("ngram_gap_3", "human")]
    found = range_of_gaps([1.0] * 20, 20, 1 / 3, df=8)
    assert [(m.value, m.low, m.high) for m in triples] == [
        pytest.approx((1.0, found.low, found.high))
    ]
    values = [Measurement("ngram_gap_3", 1.0, n=20)] * 20
    part, sizes = Part("file", "a", []), Sizes(10, 40)
    row = _audit_row(part, values[0], values, 1 / 3, sizes)
    assert row.human == range_of_gaps([1.0] * 20, 20, 1 / 3)
