import math

import numpy as np
import pytest
from lexicalrichness import LexicalRichness

from textmad.evaluators import lexical
from textmad.evaluators.diversity import diversity
from textmad.text.words import code_words, ngrams

ORDER_FREE = {
    *("distinct_1", "distinct_2", "distinct_3", "distinct_4", "entropy_1", "entropy_2"),
    *("hdd", "zipf_exponent", "repeated_share"),
}


def zipfian_words(num_words: int, seed: int, num_types: int = 300) -> list[str]:
    shares = 1 / np.arange(1, num_types + 1)
    rng = np.random.default_rng(seed)
    return [f"w{i}" for i in rng.choice(num_types, num_words, p=shares / shares.sum())]


@pytest.mark.parametrize(("num_words", "num_types"), [(50, 300), (211, 40), (3000, 300), (900, 3)])
def test_mattr_mtld_and_hdd_agree_with_lexicalrichness(num_words, num_types):
    words = zipfian_words(num_words, seed=num_words, num_types=num_types)
    codes = code_words([" ".join(words)]).codes
    oracle = LexicalRichness(words, preprocessor=None, tokenizer=None)
    assert lexical.mattr(codes, 50) == pytest.approx(oracle.mattr(50), rel=1e-12)
    assert lexical.mtld(codes) == pytest.approx(oracle.mtld(0.72), rel=1e-12)
    assert lexical.hdd(codes) == pytest.approx(oracle.hdd(42), rel=1e-9)


def test_mtld_finds_factors_longer_than_its_first_look_ahead():
    # 500 different words and then the last one again and again: the ratio is 500 / n, and
    # 0.72 is reached at n = 695 (500 / 695 = 0.7194), beyond two windows of 256.
    words = [*map(str, range(500)), *["499"] * 300]
    oracle = LexicalRichness(words, preprocessor=None, tokenizer=None)
    codes = code_words([" ".join(words)]).codes
    assert lexical.mtld(codes) == pytest.approx(oracle.mtld(0.72), rel=1e-12)


def test_distinct_counts_ngrams_within_documents_only():
    words = code_words(["a b a", "b a"])
    # Pairs: ab ba | ba. The pair (a, b) across the border would make it 2 of 4.
    assert lexical.distinct(ngrams(words, 2).ids) == 2 / 3


def test_entropy_of_a_known_distribution():
    # p = 1/2, 1/4, 1/4: 0.5 * 1 + 2 * 0.25 * 2 = 1.5 bits
    assert lexical.entropy_bits(np.array([7, 7, 3, 1])) == 1.5
    assert lexical.entropy_bits(np.array([5, 5])) == 0.0


def test_the_zipf_exponent_of_an_exact_power_law_is_its_exponent():
    counts = [3600 // rank**2 for rank in (1, 2, 3, 4, 5, 6)]  # 3600, 900, 400, 225, 144, 100
    assert lexical.zipf_exponent(np.repeat(np.arange(6), counts)) == pytest.approx(2.0)


def test_the_heaps_exponent_is_one_where_all_words_are_new_and_zero_where_none_is():
    assert lexical.heaps_exponent(np.arange(1000)) == pytest.approx(1.0)
    assert lexical.heaps_exponent(np.zeros(1000, int)) == pytest.approx(0.0)


def test_the_heaps_exponent_of_square_root_growth_is_a_half():
    # The k-th new word comes at position k * k, so the vocabulary of n words is floor(sqrt(n)).
    codes = np.zeros(10_000, int)
    new = np.arange(1, 100) ** 2
    codes[new] = np.arange(1, 100)
    assert lexical.heaps_exponent(codes) == pytest.approx(0.5, abs=0.02)


def test_repeated_documents_are_counted_beyond_the_first_of_each():
    assert lexical.repeated_share(["Hi there.", "hi  THERE", "hi", "hi there", "?!", "?"]) == 2 / 6


def test_overlap_is_the_share_of_ngrams_that_stand_in_the_reference():
    # Triples of the text: abc bcd cde; "bcd" and "cde" stand in the reference, while its
    # "abc" crosses a border between documents.
    assert lexical.overlap(["a b c d e"], ["x b c d e", "y a b", "c"], n=3) == 2 / 3


def test_repetition_compresses():
    varied, repetitive = [" ".join(zipfian_words(500, 0))], ["no idea " * 250]
    assert lexical.compression_ratio(repetitive) > 5 * lexical.compression_ratio(varied)


@pytest.mark.parametrize(
    "value",
    [
        lexical.distinct(np.array([], int)),
        lexical.entropy_bits(np.array([], int)),
        lexical.mattr(np.arange(49), window=50),
        lexical.mtld(np.array([], int)),
        lexical.mtld(np.arange(100)),
        lexical.hdd(np.arange(41)),
        lexical.zipf_exponent(np.array([0, 0])),
        lexical.heaps_exponent(np.array([0])),
        lexical.compression_ratio([]),
        lexical.repeated_share([]),
        lexical.overlap(["a"], ["a"], n=2),
        lexical.overlap(["a"], [], n=1),
    ],
)
def test_a_measure_without_enough_text_is_nan(value):
    assert math.isnan(value)


def test_permuting_documents_changes_no_count_of_words():
    words = zipfian_words(3000, 1)
    texts = [" ".join(words[i : i + 20]) for i in range(0, 3000, 20)]
    before = {m.metric: m.value for m in diversity(texts, num_words=3000)}
    after = {m.metric: m.value for m in diversity(texts[::-1], num_words=3000)}
    for metric in ORDER_FREE:
        assert before[metric] == pytest.approx(after[metric], rel=1e-12), metric
    # These read the text in its order; another order of the same documents moves them little.
    for metric in before.keys() - ORDER_FREE - {"mtld"}:
        assert before[metric] == pytest.approx(after[metric], rel=0.03), metric


def test_doubling_documents_halves_distinct_and_leaves_entropy():
    texts = [" ".join(zipfian_words(20, seed)) for seed in range(50)]
    once = {m.metric: m.value for m in diversity(texts)}
    twice = {m.metric: m.value for m in diversity(texts * 2)}
    for n in (1, 2, 3, 4):
        assert twice[f"distinct_{n}"] == once[f"distinct_{n}"] / 2
    assert twice["entropy_2"] == pytest.approx(once["entropy_2"], rel=1e-12)
    assert (once["repeated_share"], twice["repeated_share"]) == (0.0, 0.5)


def test_what_lies_behind_the_words_compared_changes_nothing_but_the_documents():
    texts = [" ".join(zipfian_words(20, seed)) for seed in range(20)]
    more = [*texts, "entirely other words", texts[0]]
    short = [m for m in diversity(texts, num_words=400) if m.metric != "repeated_share"]
    assert short == [m for m in diversity(more, num_words=400) if m.metric != "repeated_share"]


def test_a_corpus_with_too_few_words_says_how_many_it_has():
    found = {m.metric: m for m in diversity(["a b", "a b"], num_words=5)}
    assert math.isnan(found["distinct_1"].value)
    assert found["distinct_1"].note == "4 words, 5 needed"
    assert found["repeated_share"].value == 0.5
