"""What a population is measured by: values worked by hand, equal size, members on each other."""

import doctest
import math

import numpy as np
import pytest
from scipy.special import rel_entr

from textmad.evaluators import population
from textmad.evaluators.population import measure, measure_lineage, member_rows, union_rows
from textmad.kinship import HUMAN, Descent
from textmad.seeds import stream
from textmad.text.passages import Passages

WORDS = 40
ZIPF = 1 / np.arange(1, WORDS + 1)
ZIPF = ZIPF / ZIPF.sum()


def written(member, shares=ZIPF, documents=60, length=12, first=0):
    """Documents of words drawn with these shares."""
    rng = stream(0, "population", member)
    rows = rng.choice(len(shares), (documents, length), p=shares) + first
    return Passages.whole(" ".join(f"w{word}" for word in row) for row in rows)


def found(*arguments, **options):
    return {(m.metric, m.bin): m for m in measure(*arguments, **options)}


def values(*arguments, **options):
    return {key: m.value for key, m in found(*arguments, **options).items()}


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(population).failed == 0


# --- within and between members ------------------------------------------------------------------


def test_every_document_is_in_one_member_and_in_one_union_with_as_many_of_each():
    members, unions = member_rows(3, 6), union_rows(3, 6)
    assert sorted(np.concatenate(unions)) == sorted(np.concatenate(members)) == list(range(18))
    for rows in unions:
        assert np.bincount(rows // 6).tolist() == [2, 2, 2]


def test_distinct_1_of_two_members_with_words_of_their_own():
    # Each member repeats 2 words in 4, a union has all 4 of them.
    one, other = Passages.whole(["a b", "a b"]), Passages.whole(["c d", "c d"])
    measured = values([one, other])
    assert measured["population_distinct_1", "within"] == 2 / 4
    assert measured["population_distinct_1", "member 0"] == 2 / 4
    assert measured["population_distinct_1", ""] == 4 / 4
    assert measured["between_distinct_1", ""] == 2
    # Of word pairs a member has one in two places, a union two.
    assert measured["between_distinct_2", ""] == 2


def test_members_that_write_alike_are_no_more_varied_together_than_alone():
    together = [
        values([written((draw, k)) for k in range(4)])["between_distinct_1", ""]
        for draw in range(40)
    ]
    error = np.std(together, ddof=1) / math.sqrt(len(together))
    assert error < 0.01
    assert abs(np.mean(together) - 1) < 4 * error
    # The whole union would have had fewer different words in a word: four times as many words.
    assert values([written(k) for k in range(4)])["population_distinct_1", ""] > WORDS / (4 * 720)


def test_all_are_compared_on_as_many_documents_and_words():
    short = Passages.whole(["a b c", "a b c"])
    long = Passages.whole(["a b c d e f"] * 5)
    measured = found([short, long])
    assert measured["population_distinct_1", ""].n == 6  # the words of the shorter member
    assert measured["population_distinct_1", "member 1"].value == 1  # its first six words
    assert measured["population_distinct_1", "member 0"].value == 3 / 6
    assert found([short, long], documents=1)["population_distinct_1", "member 0"].value == 1


def test_the_vendi_score_counts_the_corners_that_members_share_out():
    corner = {"a": [1.0, 0, 0, 0], "b": [0, 1.0, 0, 0], "c": [0, 0, 1.0, 0], "d": [0, 0, 0, 1.0]}

    def embed(passages):
        return [corner[text] for text in passages.texts]

    own = [Passages.whole("ab" * 4), Passages.whole("cd" * 4)]
    measured = values(own, embed=embed)
    assert measured["population_vendi", "within"] == pytest.approx(2)
    # Union 0 holds a d a d ..., union 1 c b c b ...: two corners again, so that the two members
    # look alike only where documents stand in the same order; drawn in random order they do not.
    mixed = [Passages.whole("abbabaab"), Passages.whole("cdcddcdc")]
    assert values(mixed, embed=embed)["between_vendi", ""] == pytest.approx(2, rel=0.02)
    assert values([own[0]] * 2, embed=embed)["between_vendi", ""] == pytest.approx(1)


# --- members on each other's text ----------------------------------------------------------------


def score_by(shares_by_member, calls=None):
    def score(member, passages):
        if calls is not None:
            calls.append((member, passages))
        loss = -np.log(shares_by_member[member])
        return [
            np.array([*(loss[int(word[1:])] for word in text.split()), 0.0])
            for text in passages.texts
        ]

    return score


def test_the_divergence_of_members_is_the_relative_entropy_of_their_models():
    shares = [ZIPF, ZIPF[::-1]]
    texts = [written(k, shares[k], documents=500) for k in range(2)]
    measured = values(texts, score=score_by(shares), scored_documents=500)
    # The end token is certain under both, one target in 13.
    expected = rel_entr(shares[0], shares[1]).sum() * 12 / 13
    assert measured["member_divergence", ""] == pytest.approx(expected, rel=0.05)
    losses = np.log([[measured["cross_perplexity", f"{i} on {j}"] for j in (0, 1)] for i in (0, 1)])
    assert np.log(measured["cross_perplexity", "own"]) == pytest.approx(np.diagonal(losses).mean())
    others = (losses[0, 1] + losses[1, 0]) / 2
    assert np.log(measured["cross_perplexity", ""]) == pytest.approx(others)
    own = (losses[0, 0] + losses[1, 1]) / 2
    assert measured["member_divergence", ""] == pytest.approx(others - own)
    # 0 on 1 is the loss of member 0 on the text of member 1.
    text = texts[1].texts
    nats = np.concatenate(score_by(shares)(0, Passages.whole(text)))
    assert losses[0, 1] == pytest.approx(nats.sum() / len(nats))


def test_members_that_are_the_same_model_do_not_diverge():
    texts = [written(k) for k in range(3)]
    assert values(texts, score=score_by([ZIPF] * 3))["member_divergence", ""] == pytest.approx(0)


def test_a_model_scores_all_texts_before_the_next_and_only_so_many():
    calls = []
    texts = [written(k) for k in range(3)]
    measured = found(texts, score=score_by([ZIPF] * 3, calls), scored_documents=7)
    assert [member for member, _ in calls] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert {len(passages) for _, passages in calls} == {7}
    assert measured["cross_perplexity", "0 on 2"].n == 7 * 13
    assert measured["cross_perplexity", ""].n == 3 * 2 * 7 * 13


def test_the_end_of_a_text_that_was_cut_is_not_scored():
    cut = Passages(("w0 w1",), ("w5",), (False,))
    measured = found([cut, cut], score=score_by([ZIPF, ZIPF]))
    loss = -np.log(ZIPF[:2]).mean()
    assert measured["cross_perplexity", "0 on 1"].value == pytest.approx(math.exp(loss))
    assert measured["cross_perplexity", "0 on 1"].n == 2


# --- what cannot be measured ---------------------------------------------------------------------


def test_what_is_not_given_is_nan_with_a_note():
    measured = found([written(0), written(1)], split="kept")
    assert {m.split for m in measured.values()} == {"kept"}
    assert measured["between_vendi", ""].note == "no embedding"
    assert measured["member_divergence", ""].note == "no scores"
    assert not measured["between_distinct_1", ""].note


def test_without_documents_everything_is_nan_with_a_note():
    nothing = found(
        [Passages(), written(0)], score=score_by([ZIPF] * 2), embed=lambda p: np.eye(len(p))
    )
    assert all(math.isnan(m.value) and m.note for m in nothing.values())
    assert nothing["cross_perplexity", ""].note == "no documents"


def test_a_member_alone_has_nobody_to_differ_from():
    measured = found([written(0)], score=score_by([ZIPF]))
    assert measured["between_distinct_2", ""].value == 1
    assert measured["cross_perplexity", "own"].value > 1
    assert measured["cross_perplexity", ""].note == "one member"
    assert measured["member_divergence", ""].note == "one member"


def test_what_is_impossible_under_another_member_is_infinitely_far():
    texts = [Passages.whole(["w0"]), Passages.whole(["w1"])]
    with np.errstate(divide="ignore"):
        measured = values(texts, score=score_by([np.array([1.0, 0.0]), np.array([0.0, 1.0])]))
    assert measured["cross_perplexity", "0 on 1"] == measured["member_divergence", ""] == math.inf
    assert measured["cross_perplexity", "own"] == 1


# --- lineage -------------------------------------------------------------------------------------


def test_a_lineage_is_measured_by_member_by_pair_and_as_a_whole():
    rows = [Descent(0, k, -1, HUMAN, 1.0) for k in range(3)]
    rows += [Descent(1, 0, 0, 0, 1.0)]  # selfing
    rows += [Descent(1, k, 0, parent, 0.5) for k in (1, 2) for parent in (0, 1)]  # full siblings
    measured = {(m.metric, m.bin): m for m in measure_lineage(rows, 1)}
    value = {key: m.value for key, m in measured.items()}
    assert [value["inbreeding", f"member {k}"] for k in range(3)] == [0.5, 0, 0]
    assert value["inbreeding", ""] == pytest.approx(0.5 / 3)
    assert value["kinship", "1 and 2"] == 0.25
    assert value["kinship", "0 and 1"] == value["kinship", "0 and 2"] == 0.5 * 0.5
    assert value["kinship", ""] == 0.25
    # Founder 0 gives (1 + 1/2 + 1/2) / 3 of all, founder 1 a third, founder 2 nothing.
    assert value["effective_founders", ""] == pytest.approx(1 / ((2 / 3) ** 2 + (1 / 3) ** 2))
    alone = {m.metric: m for m in measure_lineage(rows[:1], 0)}
    assert alone["kinship"].note == "one member"
