"""Which candidates a generation learns from by preference, and with which labels."""

import numpy as np
import pyarrow as pa
import pytest

import textmad as tm
from textmad.errors import CurationError
from textmad.loop.judged_text import judged_text
from textmad.text.documents import as_dataset, as_table, documents

# Ten candidates: the first three are kept, one of them has no token.
KEPT = [True] * 3 + [False] * 7
RANK = [2, 1, 3, 4, 10, 5, 9, 6, 8, 7]
TEXTS = [f"text {number}" for number in range(10)]


def candidates(**columns: object):
    table = as_table(
        documents(
            {
                "text": TEXTS,
                "tokens": [0 if number == 3 else 4 for number in range(10)],
                "finished": [number != 4 for number in range(10)],
            }
        )
    )
    for name, values in {"kept": KEPT, **columns}.items():
        table = table.append_column(name, pa.array(values))
    return as_dataset(table)


def recipe(curate: str = "upvotes", **preference: object) -> tm.Recipe:
    return tm.Recipe(curate=[curate], train={"preference": preference})


def numbers(judged) -> tuple[list[int], list[int]]:
    """The candidates that are learned as accepted, and as rejected."""
    rows = [int(text.split()[1]) for text in judged.documents["text"][:]]
    accepted = judged.documents["accepted"][:]
    assert accepted == sorted(accepted, reverse=True)
    return rows[: sum(accepted)], rows[sum(accepted) :]


def test_what_the_filters_kept_is_accepted_and_the_rest_is_rejected():
    judged = judged_text(recipe(), 1, candidates())
    assert numbers(judged) == ([0, 1, 2], [4, 5, 6, 7, 8, 9])
    assert judged.counts == {
        "accepted": 3,
        "rejected": 6,
        "left_out": {"without a token": 1},
    }
    finished = dict(zip(judged.documents["text"][:], judged.documents["finished"][:], strict=True))
    assert not finished["text 4"]
    assert finished["text 5"]


def test_the_discriminators_own_verdict_may_be_learned_instead():
    accepts = [True, None, False, True, True, False, False, None, False, False]
    asked = recipe("discriminator", labels="discriminator")
    judged = judged_text(asked, 1, candidates(discriminator_accepts=accepts))
    assert numbers(judged) == ([0, 4], [2, 5, 6, 8, 9])
    assert judged.counts["left_out"] == {
        "not judged by the discriminator": 2,
        "without a token": 1,
    }


def test_random_labels_are_as_many_and_differ_by_generation_and_seed():
    asked = recipe(labels="random")
    learned = [numbers(judged_text(asked, generation, candidates())) for generation in range(1, 9)]
    assert all((len(good), len(bad)) == (3, 6) for good, bad in learned)
    assert all(sorted(good + bad) == [0, 1, 2, 4, 5, 6, 7, 8, 9] for good, bad in learned)
    # Of 84 choices of three, eight times the same has the probability 84^-7.
    assert len({tuple(good) for good, _ in learned}) > 1
    other = judged_text(asked.replace(seed=1), 1, candidates())
    assert numbers(other) != learned[0]


def test_the_best_accepted_is_paired_with_the_worst_rejected():
    judged = judged_text(recipe(loss="dpo"), 1, candidates(rank=RANK))
    # Ranks of the kept: 1 is 1st, 0 is 2nd, 2 is 3rd; the worst are 4, 6 and 8.
    assert numbers(judged) == ([1, 0, 2], [4, 6, 8])
    assert judged.counts["left_out"] == {"without a token": 1, "not chosen": 3}


def test_the_last_filter_that_ranks_makes_the_pairs_and_what_it_saw_not_is_in_none():
    sure = [0.5, 0.9, 0.7, 0.1, None, 0.2, 0.1, 0.3, 0.4, None]
    judged = judged_text(recipe(loss="dpo"), 1, candidates(rank=RANK, accept_probability=sure))
    assert numbers(judged) == ([1, 2, 0], [6, 5, 7])


def test_random_labels_and_matched_random_controls_make_random_pairs():
    by_rank = ([1, 0, 2], [4, 6, 8])
    for asked in (recipe(labels="random", loss="dpo"), recipe("twin upvotes", loss="dpo")):
        pairs = [numbers(judged_text(asked, g, candidates(rank=RANK))) for g in range(1, 6)]
        assert all(len(good) == len(bad) == 3 for good, bad in pairs)
        # One in 6 * 120 pairings is that by rank: five of them have the probability (1/720)^5.
        assert any(pair != by_rank for pair in pairs)
        assert len({str(pair) for pair in pairs}) > 1


def test_at_most_so_many_documents_of_each_label_are_chosen_at_random():
    judged = judged_text(recipe(documents=2), 1, candidates())
    good, bad = numbers(judged)
    assert (len(good), len(bad)) == (2, 2)
    assert judged.counts == {
        "accepted": 2,
        "rejected": 2,
        "left_out": {"without a token": 1, "not chosen": 5},
    }
    chosen = {
        tuple(numbers(judged_text(recipe(documents=2), g, candidates()))[1]) for g in range(8)
    }
    assert len(chosen) > 1


@pytest.mark.parametrize(("kept", "label"), [(True, "rejected"), (False, "accepted")])
def test_documents_of_one_label_alone_are_an_error(kept, label):
    table = candidates()
    all_alike = as_dataset(
        as_table(table).set_column(
            table.column_names.index("kept"), "kept", pa.array(np.full(10, kept))
        )
    )
    with pytest.raises(CurationError) as caught:
        judged_text(recipe(), 2, all_alike)
    assert str(caught.value) == (
        f"train.preference, generation 2: none of the 9 judged candidates of generation 1 was "
        f"{label} (labels: kept); change what the filters in curate keep, or delete "
        "train.preference"
    )


def test_pairs_without_ranks_are_an_error():
    with pytest.raises(CurationError) as caught:
        judged_text(recipe(loss="dpo"), 1, candidates())
    assert str(caught.value) == (
        "train.preference.loss: dpo, generation 1: pairs are made from ranks, and the candidates "
        "have no column rank or accept_probability; add upvotes, people or discriminator to "
        "curate, or choose kto or apo_zero_unpaired"
    )
    with pytest.raises(CurationError) as caught:
        judged_text(recipe(loss="dpo"), 1, candidates(rank=[1, 2, 3] + [None] * 7))
    assert str(caught.value) == (
        "train.preference, generation 1: of the candidates that were accepted or of those that "
        "were rejected none has a rank, so there is no pair; choose kto or apo_zero_unpaired"
    )
