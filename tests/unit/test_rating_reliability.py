"""Raters' reliability and label posteriors, against published and simulated raters."""

import csv
import json

import numpy as np
import pytest

from textmad.errors import RunError
from textmad.rating import reliability
from textmad.rating.ballot import Ballot
from textmad.rating.exchange import write_labels
from textmad.rating.records import Vote
from textmad.rating.reliability import label_posteriors, left_out, reliabilities, screen

# Dawid and Skene (Applied Statistics 28, 1979), table 1: five anaesthetists judge 45 patients from
# 1 to 4, the first of them three times. A patient's seven digits are those three, then the others.
PATIENTS = [
    "1111111",
    "3334334",
    "1122122",
    "2223121",
    "2223222",
    "2223322",
    "1222111",
    "3333433",
    "2222223",
    "2322223",
    "4444444",
    "2223343",
    "1111111",
    "2223212",
    "1211111",
    "1112111",
    "1111111",
    "1111111",
    "2222221",
    "2221322",
    "2222222",
    "2222221",
    "2223222",
    "2212222",
    "1111111",
    "1111111",
    "2322222",
    "1111111",
    "1111111",
    "1121121",
    "1111111",
    "3333233",
    "1111111",
    "2222222",
    "2223232",
    "4334343",
    "2212232",
    "2323233",
    "3333432",
    "1111111",
    "1111111",
    "1212111",
    "2322222",
    "1211111",
    "2222222",
]
OBSERVERS = ("a", "a", "a", "b", "c", "d", "e")


def vote(rater, item, value, showing=0):
    return Vote("b", item, (f"g0-{item}",), None, rater, showing, value, 0, 1.0, 0.0)


def test_dawid_and_skenes_own_example_gives_what_they_published():
    assert len(PATIENTS) == 45
    votes = [
        vote(observer, item, int(digit))
        for item, digits in enumerate(PATIENTS)
        for observer, digit in zip(OBSERVERS, digits, strict=True)
    ]
    labels = label_posteriors(votes)
    assert labels.values == [1, 2, 3, 4]
    # Table 2: the marginals, and observer 1's error rates (a row is the true class).
    assert labels.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.006)
    published = [
        [0.89, 0.11, 0.00, 0.00],
        [0.07, 0.88, 0.05, 0.00],
        [0.00, 0.34, 0.66, 0.00],
        [0.00, 0.00, 0.56, 0.44],
    ]
    np.testing.assert_allclose(labels.confusion["a"].T, published, atol=0.006)
    # Patients 1 and 11 got one answer from all, and patient 2 is a 3 or a 4.
    assert labels.posterior[0, 0] == pytest.approx(1, abs=1e-3)
    assert labels.posterior[10, 3] == pytest.approx(1, abs=1e-3)
    assert labels.posterior[1, 2:].sum() == pytest.approx(1, abs=1e-3)


def test_labels_are_written_with_their_probabilities(tmp_path):
    votes = [
        vote(observer, item, int(digit))
        for item, digits in enumerate(PATIENTS[:12])
        for observer, digit in zip(OBSERVERS, digits, strict=True)
    ]
    equal = [vote("a", 0, 1)._replace(ballot="equal")]
    assert write_labels(tmp_path / "labels.csv", [votes, equal, []]) == 12
    assert write_labels(tmp_path / "labels.jsonl", [votes]) == 12
    with (tmp_path / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 12 * 4
    assert {row["ballot"] for row in rows} == {"b"}
    first = [row for row in rows if row["item"] == "0"]
    assert {row["documents"] for row in first} == {"g0-0"}
    assert [row["value"] for row in first] == ["1", "2", "3", "4"]
    for each in range(12):
        shares = [line["probability"] for line in lines if line["item"] == each]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert float(first[0]["probability"]) == pytest.approx(1, abs=1e-3)  # all said 1


def simulated(shares, num_items=300, raters_per_item=3, seed=0, values=(0, 1), opposed=()):
    """Votes of raters who say the item's label with their share, and else anything."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(values, num_items)
    votes = []
    for item in range(num_items):
        for rater in rng.choice(len(shares), raters_per_item, replace=False):
            knows = rng.random() < shares[rater]
            said = truth[item] if knows else rng.choice(values)
            if knows and rater in opposed:
                said = values[0] + values[-1] - said
            votes.append(vote(f"r{rater}", item, int(said)))
    return votes


def test_the_share_of_votes_that_are_not_random_is_found_with_its_interval():
    shares = [0.9, 0.7, 0.5, 0.3, 0.9, 0.7, 0.5, 0.3]
    found = reliabilities(simulated(shares, num_items=400))
    assert [each.rater for each in found] == [f"r{i}" for i in range(8)]
    inside = [each.low <= share <= each.high for each, share in zip(found, shares, strict=True)]
    assert sum(inside) >= 6  # of 8 at 95 %: fewer have a probability of 0.6 %
    assert np.corrcoef([each.share for each in found], shares)[0, 1] > 0.8
    assert not any(each.is_random for each in found)


@pytest.mark.parametrize("values", [(0, 1), (1, 2, 3, 4, 5), (3, 2, 1)])
def test_who_clicks_at_random_is_named_and_nobody_else(values):
    found = reliabilities(simulated([0.0, 0.8, 0.8, 0.8, 0.7, 0.7], values=values, seed=1))
    assert [each.rater for each in found if each.is_random] == ["r0"]
    assert found[0].share < 0.2


def test_who_always_gives_the_same_answer_is_named_too():
    votes = simulated([0.8] * 6, seed=2)
    votes = [each._replace(value=1) if each.rater == "r3" else each for each in votes]
    assert [each.rater for each in reliabilities(votes) if each.is_random] == ["r3"]


def test_the_opposite_taste_is_not_random():
    found = reliabilities(simulated([0.8] * 7, seed=3, opposed=(2,)))
    assert found[2].share == pytest.approx(0, abs=0.02)
    assert not any(each.is_random for each in found)


def test_few_votes_name_nobody():
    assert not any(each.is_random for each in reliabilities(simulated([0.0, 0.8, 0.8], 8)))


def test_the_order_of_votes_changes_nothing():
    votes = simulated([0.9, 0.5, 0.1, 0.7], 80, values=(1, 2, 3, 4, 5))
    shuffled = [votes[i] for i in np.random.default_rng(1).permutation(len(votes))]
    assert reliabilities(shuffled) == reliabilities(votes)
    first, second = label_posteriors(votes), label_posteriors(shuffled)
    assert np.array_equal(first.posterior, second.posterior)


def test_votes_that_nobody_shares_or_that_are_all_equal_tell_nothing():
    assert reliabilities([]) == []
    assert reliabilities([vote("a", 0, 1), vote("b", 1, 0)]) == []
    assert reliabilities([vote("a", 0, 1), vote("b", 0, 1)]) == []
    assert label_posteriors([]) is None


def test_random_clickers_are_left_out_only_if_the_ballot_says_so():
    votes = simulated([0.0, 0.8, 0.8, 0.8, 0.7, 0.7], seed=1)
    assert left_out(Ballot(), votes) == {}
    assert left_out(Ballot(leave_out_random=True), votes) == {"r0": "random"}


def test_one_estimate_says_who_is_left_out_and_how_reliable_the_others_are(monkeypatch):
    votes = simulated([0.0, 0.8, 0.8, 0.8, 0.7, 0.7], seed=1)
    wrong = [
        vote("r5", item, 0)._replace(gold=1, documents=(f"gold-{item}",)) for item in (900, 901)
    ]
    calls = []
    monkeypatch.setattr(
        reliability, "reliabilities", lambda votes: calls.append(1) or reliabilities(votes)
    )
    strict = Ballot(leave_out_random=True, gold="gold.jsonl", min_gold_accuracy=0.5)
    found = screen(strict, [*votes, *wrong])
    assert len(calls) == 1
    assert found.left_out == {"r5": "gold", "r0": "random"}
    others = [each for each in votes if each.rater != "r5"]  # r5's votes judge nobody
    assert list(found.reliabilities.values()) == reliabilities(others)
    assert screen(Ballot(), votes).left_out == {}


def test_without_crowd_kit_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "crowdkit", None)
    with pytest.raises(RunError, match=r"pip install 'textmad\[rate\]'"):
        reliabilities(simulated([0.8, 0.8, 0.8], 10))
