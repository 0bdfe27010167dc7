import math

import numpy as np
import pytest

from textmad.evaluators.perplexity import corpus_loss
from textmad.evaluators.rare_tokens import loss_by_bin, rare_tokens, text_tokens
from textmad.text.rarity import frequency_bins

END = 0


def test_end_tokens_are_no_text():
    tokens = [np.array([4, 5, END]), np.array([END]), np.array([6, END])]
    assert text_tokens(tokens).tolist() == [4, 5, 6]
    assert len(text_tokens([])) == 0


def test_loss_by_bin_shares_out_every_token():
    # Counts: type 1 is rare (5 of 100 tokens), 2 is below 0.05..0.4, 3 is the rest.
    counts = np.array([0, 5, 35, 60])
    assert frequency_bins(counts)[1:].tolist() == [0, 0, 2]
    nll = [np.array([9.0, 1.0, 0.5]), np.array([2.0, 0.5])]
    tokens = [np.array([1, 3, END]), np.array([3, END])]
    found = {(m.metric, m.bin): m for m in loss_by_bin(nll, tokens, counts)}
    assert (found["loss", "rarest"].value, found["loss", "rarest"].n) == (9.0, 1)
    assert (found["loss", "25-50%"].value, found["loss", "25-50%"].n) == (1.5, 2)
    assert (found["loss", "end"].value, found["loss", "end"].n) == (0.5, 2)
    assert found["rare_loss", ""].value == 9.0
    assert found["common_loss", ""].value == 1.5
    assert found["rare_gap", ""].value == 7.5
    parts = [m for (metric, _), m in found.items() if metric == "loss" and m.n]
    assert sum(m.value * m.n for m in parts) / 5 == pytest.approx(corpus_loss(nll))


def test_a_bin_without_held_out_tokens_is_nan_with_a_note():
    found = loss_by_bin([np.ones(2)], [np.array([1, END])], np.array([0, 10]))
    empty = next(m for m in found if m.bin == "50-75%")
    assert math.isnan(empty.value)
    assert empty.note == "no held-out token in it"


def test_losses_that_do_not_match_their_tokens_are_errors():
    with pytest.raises(ValueError, match="expected one loss for each token"):
        loss_by_bin([np.ones(2)], [np.array([1, 2, END])], np.array([1, 1, 1]))


def test_rare_types_are_counted_beside_the_human_text():
    # Mass below: types 1 and 2 (3 each of 100) at 0 and 0.03, type 3 (4) at 0.06: the rarest;
    # type 4 (90) at 0.10.
    counts = np.array([0, 3, 3, 4, 90])
    assert frequency_bins(counts).tolist() == [0, 0, 0, 0, 1]
    found = {m.metric: m for m in rare_tokens(np.array([4, 4, 1, 4, 1, 3, 4, 9]), counts)}
    assert found["rare_rate"].value == 4 / 8  # 1, 1, 3, and 9, which human text never has
    assert found["surviving_rare_types"].value == 2 / 3  # 1 and 3, of 1, 2, 3
    assert found["unseen_mass"].value == 3 / 100  # type 2
    assert {m.n for m in found.values()} == {8}


def test_human_text_beside_itself_misses_nothing():
    ids = np.random.default_rng(0).zipf(1.5, 5000) % 500
    found = {m.metric: m.value for m in rare_tokens(ids, np.bincount(ids))}
    assert found["surviving_rare_types"] == 1.0
    assert found["unseen_mass"] == 0.0
    assert 0.10 <= found["rare_rate"] < 0.11


def test_order_of_tokens_and_doubling_change_nothing():
    rng = np.random.default_rng(1)
    ids, counts = rng.integers(0, 300, 400), rng.integers(0, 50, 300)
    values = [m.value for m in rare_tokens(ids, counts)]
    assert values == [m.value for m in rare_tokens(rng.permutation(ids), counts)]
    assert values == [m.value for m in rare_tokens(np.tile(ids, 2), counts)]
