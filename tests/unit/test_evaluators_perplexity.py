import math

import numpy as np
import pytest

from textmad.evaluators import Measurement, Snapshot
from textmad.evaluators.held_out import held_out_subset
from textmad.evaluators.perplexity import (
    QUANTILES,
    Perplexity,
    bits_per_byte,
    corpus_loss,
    corpus_perplexity,
    next_token_accuracy,
    num_beyond,
    perplexity,
)
from textmad.evaluators.references import measure_compared
from textmad.models.protocol import TokenScores
from textmad.text.documents import documents, empty


def test_perplexity_divides_once_and_is_no_mean_of_means():
    # One odd token of 20 nats beside nine easy ones of ln 2: (20 + 9 ln 2) / 10 nats a token.
    nll = [np.array([20.0]), np.full(9, math.log(2))]
    assert corpus_loss(nll) == pytest.approx((20 + 9 * math.log(2)) / 10)
    assert corpus_perplexity(nll) == pytest.approx(math.exp(2.0 + 0.9 * math.log(2)))
    mean_of_means = (math.exp(20) + 2) / 2
    assert corpus_perplexity(nll) < mean_of_means / 1e6


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    assert corpus_perplexity([np.full(7, math.log(4096))]) == pytest.approx(4096)


def test_permuting_documents_changes_no_bit_of_the_loss():
    rng = np.random.default_rng(0)
    nll = [rng.exponential(3.0, size) for size in rng.integers(1, 60, 200)]
    shuffled = [nll[i] for i in rng.permutation(len(nll))]
    assert corpus_loss(nll) == corpus_loss(shuffled)


def test_an_empty_document_counts_for_nothing_and_doubling_changes_nothing():
    nll = [np.array([1.0, 2.0]), np.array([4.0])]
    assert corpus_loss([*nll, np.array([])]) == corpus_loss(nll) == corpus_loss(nll * 2) == 7 / 3


def test_bits_per_byte_counts_the_bytes_of_utf8():
    # 12 bits over "né" = 3 bytes and "a" = 1 byte
    nll = [np.full(2, 4 * math.log(2)), np.full(1, 4 * math.log(2))]
    assert bits_per_byte(nll, ["né", "a"]) == pytest.approx(12 / 4)


def test_an_impossible_token_makes_the_perplexity_infinite():
    assert corpus_perplexity([np.array([1.0, math.inf])]) == math.inf
    assert corpus_perplexity([np.array([800.0])]) == math.inf


def test_accuracy_counts_tokens_and_not_documents():
    correct = [np.array([True]), np.array([False, False, True])]
    assert next_token_accuracy(correct) == 2 / 4


def test_each_value_says_how_many_tokens_are_behind_it():
    found = perplexity(
        [np.zeros(3), np.zeros(2)], ["ab", "c"], [np.ones(3, bool), np.ones(2, bool)]
    )
    assert [(m.metric, m.value, m.n) for m in found] == [
        ("perplexity", 1.0, 5),
        ("loss", 0.0, 5),
        ("bits_per_byte", 0.0, 5),
        ("accuracy", 1.0, 5),
    ]


@pytest.mark.parametrize("nothing", [[], [np.array([])]])
def test_no_tokens_are_errors(nothing):
    with pytest.raises(ValueError, match="no target tokens: expected at least one"):
        corpus_loss(nothing)


def test_the_held_out_subset_is_whole_documents_up_to_the_tokens_asked_for():
    held_out = documents({"text": [f"text {i}" for i in range(50)], "tokens": [10] * 50})
    subset = held_out_subset(held_out, 95)["text"][:]
    assert len(subset) == 10
    assert len(held_out_subset(held_out, 10_000)) == 50
    assert held_out_subset(held_out, 200)["text"][:10] == subset


def test_the_held_out_subset_does_not_depend_on_the_order_of_the_documents():
    texts = [f"text {i}" for i in range(50)]
    forward = documents({"text": texts, "tokens": [10] * 50})
    backward = documents({"text": texts[::-1], "tokens": [10] * 50})
    first = held_out_subset(forward, 100)["text"][:]
    assert first == held_out_subset(backward, 100)["text"][:]
    assert first != texts[:10]


def test_held_out_text_without_token_counts_is_an_error():
    with pytest.raises(ValueError, match="tokens: 0: expected at least 1; count the tokens"):
        held_out_subset(documents({"text": ["a"]}), 10)
    with pytest.raises(ValueError, match="no documents: expected at least one"):
        held_out_subset(documents({"text": []}), 10)


@pytest.mark.parametrize("name", ["5%", "median", "95%", "99%"])
def test_the_interval_of_a_quantile_holds_that_of_another_text_of_the_same_kind(name):
    """Nats of documents are log-normal here; 300 texts of 60 documents, a reference of 120.

    With the true rate at 93 % fewer than 265 hold in 1 of 1,000 cases. Without logarithms and with
    8 degrees of freedom, the quantile of 99 % held in 256.
    """
    rng, share, num_held = np.random.default_rng(0), QUANTILES[name], 0
    for _ in range(300):
        nats = {s: np.exp(rng.normal(1.4, 0.25, n)) for s, n in (("human", 120), ("drawn", 60))}
        texts = {split: list(map(str, values)) for split, values in nats.items()}
        nothing = empty()
        snapshot = Snapshot(0, None, None, nothing, nothing, nothing, texts, 60, 1, rng)

        def measure(split, rows, nats=nats):
            value = np.exp(np.quantile(nats[split][rows[:60]], share))
            return [Measurement("text_perplexity", value, bin=name, n=60)]

        found = measure_compared(
            snapshot, measure, splits=("human", "drawn"), num_behind=num_beyond
        )
        human, drawn = found
        num_held += human.low <= drawn.value <= human.high
    assert num_held >= 265


# --- the tokens that were sampled -----------------------------------------------------------


class Letters:
    """A base model whose texts encode to a token a letter, of 2 nats; the end token has 1."""

    name = "letters"

    def token_nll(self, texts, prompts=None):
        return [np.array([2.0] * len(text) + [1.0]) for text in texts]

    def token_scores(self, texts, prompts=None):
        nll = self.token_nll(texts)
        return TokenScores(nll, [np.zeros(len(row), bool) for row in nll])


class Ids(Letters):
    """The same, which scores ids too: an id is its nats."""

    def nll_of_ids(self, ids, prompts=None):
        assert prompts is None
        return [np.array([*map(float, row), 1.0]) for row in ids]


def measured_by(base, sampled_ids, finished=(True, True, True)):
    held_out = documents({"text": ["held out"], "tokens": [9]})
    texts = {"drawn": ["abcd", "ef", "gh"]}
    snapshot = Snapshot(
        generation=0,
        model=base,
        base=base,
        held_out=held_out,
        human=held_out,
        training=held_out,
        texts=texts,
        num_documents=2,
        num_words=1,
        rng=np.random.default_rng(0),
        finished={"drawn": finished},
        sampled_ids={} if sampled_ids is None else {"drawn": sampled_ids},
    )
    found = {m.metric: m for m in Perplexity()(snapshot) if m.split == "drawn"}
    return found["base_perplexity"], found["base_perplexity_as_sampled"], found["reencoded_share"]


def test_text_is_scored_by_its_own_encoding_and_beside_it_by_the_tokens_that_were_sampled():
    by_text, as_sampled, share = measured_by(Ids(), [[3, 3], None, [9]])  # two are compared
    assert (by_text.value, by_text.n) == (pytest.approx(math.exp((8 + 4 + 2) / 8)), 8)
    assert (as_sampled.value, as_sampled.n) == (pytest.approx(math.exp((6 + 4 + 2) / 6)), 6)
    assert (share.value, share.n) == (0.5, 2)


def test_the_end_of_a_text_that_was_cut_is_not_scored_as_sampled_either():
    _, as_sampled, _ = measured_by(Ids(), [[3, 3], None, None], finished=(False, True, True))
    assert as_sampled.value == pytest.approx(math.exp((6 + 4 + 1) / 5))


def test_where_every_text_encodes_to_what_was_sampled_both_are_the_same_without_any_ids():
    by_text, as_sampled, share = measured_by(Letters(), [None, None, None])
    assert as_sampled.value == by_text.value
    assert share.value == 0


@pytest.mark.parametrize(
    ("base", "sampled_ids", "note", "share"),
    [
        (Letters(), [[3], None, None], "the base model does not score ids (nll_of_ids)", 0.5),
        (Ids(), None, "the sampled ids are not known", math.nan),
    ],
)
def test_what_cannot_be_scored_as_sampled_says_why(base, sampled_ids, note, share):
    by_text, as_sampled, measured_share = measured_by(base, sampled_ids)
    assert math.isfinite(by_text.value)
    assert math.isnan(as_sampled.value)
    assert as_sampled.note == note
    assert measured_share.value == pytest.approx(share, nan_ok=True)
