import itertools

import numpy as np
import pytest

from textmad.base_models.kneser_ney import KneserNey

A, B, END = 0, 1, 2
CORPUS = [[A, B, END], [A, B, A, END]]


def probability(model: KneserNey, history: list[int], token: int) -> float:
    return float(np.exp(-model.token_nll([*history, token])[-1]))


def test_a_bigram_model_worked_by_hand() -> None:
    model = KneserNey(2, vocabulary_size=3, discount=0.5).fit(CORPUS)
    # Distinct left neighbours: a has the beginning and b, b has a, the end has b and a. So with
    # 3 kinds and 5 in all, p(w) = (neighbours - 1/2 + 1/2 * 3 * 1/3) / 5.
    alone = {A: 2 / 5, B: 1 / 5, END: 2 / 5}
    # After a: b twice, the end once; so 2 * 1/2 is left of 3 for the line above.
    after_a = {A: alone[A] / 3, B: (1.5 + alone[B]) / 3, END: (0.5 + alone[END]) / 3}
    # After b: a once, the end once; 2 * 1/2 is left of 2. At the beginning: a twice; 1/2 of 2.
    after_b = {A: (0.5 + alone[A]) / 2, B: alone[B] / 2, END: (0.5 + alone[END]) / 2}
    first = {A: (1.5 + 0.5 * alone[A]) / 2, B: 0.5 * alone[B] / 2, END: 0.5 * alone[END] / 2}
    for history, expected in (([], first), ([A], after_a), ([A, B], after_b)):
        for token, value in expected.items():
            assert probability(model, history, token) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(
        model.token_nll([A, B, END]), -np.log([first[A], after_a[B], after_b[END]]), rtol=1e-12
    )


def test_an_unseen_history_backs_off_to_its_end() -> None:
    bigram = KneserNey(2, vocabulary_size=5, discount=0.5).fit(CORPUS)
    # Nothing ever follows the end: what is left is p(w) by left neighbours, over 5 tokens now.
    for token, neighbours in ((A, 2), (B, 1), (END, 2), (3, 0)):
        value = (max(neighbours - 0.5, 0) + 0.5 * 3 / 5) / 5
        assert probability(bigram, [END], token) == pytest.approx(value, rel=1e-12)
    trigram = KneserNey(3, vocabulary_size=5, discount=0.5).fit(CORPUS)
    for token in range(5):
        unseen = probability(trigram, [3, A], token)
        assert unseen == pytest.approx(probability(trigram, [4, A], token), rel=1e-12)
        assert unseen != pytest.approx(probability(trigram, [B, A], token), rel=1e-3)


def test_a_unigram_model_counts_occurrences() -> None:
    model = KneserNey(1, vocabulary_size=4, discount=0.5).fit(CORPUS)
    # 7 tokens of 3 kinds among 4: a three times, b and the end twice.
    for token, count in ((A, 3), (B, 2), (END, 2), (3, 0)):
        value = (max(count - 0.5, 0) + 0.5 * 3 / 4) / 7
        assert probability(model, [], token) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_any_history(order: int) -> None:
    rng = np.random.default_rng(0)
    corpus = [[*rng.integers(0, 3, size=rng.integers(0, 8)).tolist(), 3] for _ in range(30)]
    model = KneserNey(order, vocabulary_size=6).fit(corpus)
    for length in range(4):
        for history in itertools.product(range(6), repeat=length):
            drawn = [probability(model, list(history), token) for token in range(6)]
            assert min(drawn) > 0
            assert sum(drawn) == pytest.approx(1, abs=1e-9)


def test_a_longer_memory_fits_text_that_has_one() -> None:
    # After a b comes what came before it: only a trigram can know.
    corpus = [[A, B, A, END], [3, B, 3, END]] * 10
    nll = {
        order: KneserNey(order, vocabulary_size=4).fit(corpus).token_nll([A, B, A, END])[2]
        for order in (2, 3)
    }
    assert np.exp(-nll[2]) < 0.5  # to it both are alike
    assert np.exp(-nll[3]) > 0.9


def test_fitting_again_forgets_what_was_fitted_before() -> None:
    fresh = KneserNey(3, 4).fit(CORPUS)
    again = KneserNey(3, 4).fit([[3, 3, 3]]).fit(CORPUS)
    np.testing.assert_array_equal(again.token_nll([A, 3, B]), fresh.token_nll([A, 3, B]))


def test_an_empty_document_has_no_tokens() -> None:
    assert KneserNey(3, 4).fit(CORPUS).token_nll([]).shape == (0,)
