import numpy as np
import pytest

from textmad.text.rarity import BINS, frequency_bins


def test_bins_hold_the_shares_of_human_text_that_they_are_named_after():
    # 100 types of equal count: the first 10 make up the rarest tenth, then 15, 25, 25, 25.
    bins = frequency_bins(np.full(100, 7))
    assert np.bincount(bins).tolist() == [10, 15, 25, 25, 25]
    assert len(BINS) == 5


def test_types_that_human_text_never_has_are_among_the_rarest():
    counts = np.array([50, 0, 30, 0, 20])
    # Sorted: 0 0 20 30 50, so below each lie 0, 0, 0, 0.2 and 0.5 of the mass.
    assert frequency_bins(counts).tolist() == [3, 0, 1, 0, 0]


def test_human_text_without_tokens_is_an_error():
    with pytest.raises(ValueError, match="human training pool: no tokens"):
        frequency_bins(np.zeros(4, int))


def test_only_the_proportions_of_human_counts_matter_for_the_bins():
    counts = np.random.default_rng(2).integers(0, 50, 300)
    assert frequency_bins(counts).tolist() == frequency_bins(3 * counts).tolist()
