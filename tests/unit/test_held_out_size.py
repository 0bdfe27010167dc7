"""How much held-out text is scored for a precision."""

import math

import numpy as np
import pandas as pd
import pytest

from textmad.evaluators.held_out import held_out_subset, precision_of, relative_error, tokens_for
from textmad.report.tables import _held_out_notes
from textmad.text.documents import documents

# Two documents of two tokens each, 2 and 6 nats: 2 nats a token, -2 and 2 nats beside it. Their sd
# is sqrt(8), and so the error sqrt(8) / (2 tokens * sqrt(2)).
TWO = [np.array([1.0, 1.0]), np.array([2.5, 3.5])]


def test_the_error_of_two_documents_is_that_of_the_formula():
    assert relative_error(TWO) == pytest.approx(1.0)


def test_a_long_document_counts_by_its_tokens():
    # Losses that differ by document in length alone leave no error.
    assert relative_error([np.full(size, 3.0) for size in (1, 10, 100)]) == pytest.approx(0.0)


def test_the_error_is_the_spread_of_perplexities_of_other_documents():
    """1,000 held-out texts of 200 documents: the spread is known to 2.2 %, and 8 % is far off."""
    rng = np.random.default_rng(0)

    def held_out():
        lengths = 1 + rng.geometric(1 / 15, 200)
        # The tokens of a document are alike, so it counts for less than its tokens.
        return [4.0 + rng.normal() + rng.exponential(2.0, length) for length in lengths]

    texts = [held_out() for _ in range(1_000)]
    losses = [np.concatenate(nll).mean() for nll in texts]
    spread = np.std(losses, ddof=1)
    assert np.mean([relative_error(nll) for nll in texts]) == pytest.approx(spread, rel=0.08)
    # As if all tokens were independent it would be less than two thirds of that.
    by_tokens = [np.std(all_) / math.sqrt(len(all_)) for all_ in map(np.concatenate, texts)]
    assert np.mean(by_tokens) < 2 / 3 * spread


def test_half_the_error_takes_four_times_the_tokens_in_whole_thousands():
    # The pilot's 4 tokens have an error of 1: 4 / 0.02 ** 2 are 10,000.
    assert tokens_for(0.02, TWO) == 10_000
    assert tokens_for(0.01, TWO) == 40_000
    assert tokens_for(0.0198, TWO) == 11_000  # 10,203
    assert tokens_for(0.5, TWO) == 1_000


def test_one_document_has_no_precision():
    with pytest.raises(ValueError, match=r"tokens: 1 held-out document: expected at least 2"):
        relative_error(TWO[:1])


def test_a_size_is_a_number_of_tokens_or_a_precision():
    assert precision_of(30_000) is None
    assert (precision_of("2%"), precision_of("0.5 %")) == (0.02, 0.005)


def test_a_pilot_has_enough_documents_to_tell_how_they_differ():
    held_out = documents({"text": [f"text {i}" for i in range(50)], "tokens": [1_000] * 50})
    assert len(held_out_subset(held_out, 4_000)) == 4
    assert len(held_out_subset(held_out, 4_000, 30)) == 30
    assert len(held_out_subset(held_out, 4_000, 99)) == 50


def test_the_closing_table_says_how_much_was_scored_for_a_precision_and_only_then():
    columns = ["generation", "metric", "split", "n", "value", "note"]
    note = "relative standard error 1.93%, 2% was asked for"
    rows = [
        (generation, "base_perplexity", split, 21_004, 70.0, said)
        for generation in (0, 1)
        for split, said in (("held_out", note), ("human", "no interval"))
    ]
    assert _held_out_notes(pd.DataFrame(rows, columns=columns)) == [
        f"Held-out text: 21,004 tokens; {note}."
    ]
    silent = [(*row[:-1], "") for row in rows]
    assert _held_out_notes(pd.DataFrame(silent, columns=columns)) == []
