"""What stands verbatim in the training set, by the origin of where it stands."""

import math
from dataclasses import replace
from functools import cache

import pytest

from textmad import testing
from textmad.evaluators import Memorisation
from textmad.testing import check_evaluator
from textmad.text.documents import documents

_whole = cache(testing.checks._snapshot)


def snapshot_of(drawn, training, origins, human=("x y z",), num_words=100):
    return replace(
        _whole(),
        texts={"drawn": drawn, "human": list(human)},
        training=documents({"text": training, "origin": origins}),
        num_documents=len(drawn),
        num_words=num_words,
    )


def measured(evaluator, snapshot):
    return {(m.metric.removeprefix("memorised_"), m.split, m.bin): m for m in evaluator(snapshot)}


def test_the_evaluator_keeps_the_contract():
    check_evaluator(Memorisation())


def test_ngrams_and_documents_count_for_whoever_wrote_what_they_stand_in():
    found = measured(
        Memorisation(ngram_words=(2,)),
        snapshot_of(
            drawn=["a b c d", "e f"],  # pairs: ab bc cd | ef
            training=["a b x", "c d e f", " e f\n"],  # human: ab; model: cd de ef
            origins=["human", "model", "model"],
            human=["a b y", "c d"],  # pairs: ab by | cd
        ),
    )
    shares = {key: m.value for key, m in found.items() if key[1] in ("drawn", "human")}
    assert shares == {
        ("ngrams", "drawn", "2 words"): 3 / 4,
        ("ngrams", "drawn", "2 words human"): 1 / 4,
        ("ngrams", "drawn", "2 words model"): 2 / 4,
        ("ngrams", "human", "2 words"): 2 / 3,
        ("ngrams", "human", "2 words human"): 1 / 3,
        ("ngrams", "human", "2 words model"): 1 / 3,
        ("documents", "drawn", ""): 1 / 2,  # "e f" alone is a whole document, but for the spaces
        ("documents", "human", ""): 0,
        ("documents", "drawn", "human"): 0,
        ("documents", "human", "human"): 0,
        ("documents", "drawn", "model"): 1 / 2,
        ("documents", "human", "model"): 0,
    }
    assert found["ngrams", "drawn", "2 words"].n == 4
    assert found["documents", "drawn", ""].n == 2
    assert found["ngrams", "kept", "2 words"].note == "too few kept documents"


def test_longer_ngrams_are_found_less_and_only_within_one_document():
    found = measured(
        Memorisation(ngram_words=(2, 4)),
        snapshot_of(["a b c d e"], ["a b c d", "d e"], ["human", "human"]),
    )
    assert found["ngrams", "drawn", "2 words"].value == 1.0
    assert found["ngrams", "drawn", "4 words"].value == 1 / 2  # abcd, and bcde across the border
    model = found["ngrams", "drawn", "4 words model"]
    assert math.isnan(model.value)
    assert model.note == "no model text"


def test_text_too_short_for_an_ngram_has_none():
    found = measured(Memorisation((8,)), snapshot_of(["a b c"], ["a b c"], ["human"]))
    short = found["ngrams", "drawn", "8 words"]
    assert math.isnan(short.value)
    assert (short.n, short.note) == (0, "no document of 8 words")


def test_no_more_words_are_read_than_are_compared():
    given = snapshot_of(["a b", "c d"], ["a b"], ["human"], num_words=2)
    found = measured(Memorisation((2,)), given)
    assert (found["ngrams", "drawn", "2 words"].value, given.num_words) == (1.0, 2)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((), "ngram_words: expected at least one length"),
        ((0,), "ngram_words: 0: expected at least 1"),
    ],
)
def test_bad_lengths_are_errors(lengths, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Memorisation(lengths)
