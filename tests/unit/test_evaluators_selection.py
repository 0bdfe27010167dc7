"""Selection differential and intensity, by hand."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from textmad import testing
from textmad.evaluators import Selection
from textmad.evaluators.selection import RareWords, document_traits
from textmad.text.documents import as_dataset, as_table, documents


def judged(texts, kept, **columns):
    table = as_table(documents({"text": texts})).append_column("kept", pa.array(kept))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.float64()))
    return as_dataset(table)


def measured(candidates, **changes):
    snapshot = replace(testing.checks._snapshot(), candidates=candidates, **changes)
    return {(m.metric, m.bin): m for m in Selection()(snapshot)}


def test_the_differential_is_kept_less_all_and_the_intensity_in_deviations():
    texts = ["a", "a b", "a b c", "a b c d"]  # mean 2.5, variance 1.25
    found = measured(judged(texts, [False, False, True, True], reward_x=[1, 1, 1, 5]))
    differential = found["selection_differential", "length"]
    assert (differential.value, differential.n) == (1.0, 2)
    assert found["selection_intensity", "length"].value == pytest.approx(1 / math.sqrt(1.25))
    assert found["selection_differential", "reward x"].value == 1.0  # 3 less 2


def test_documents_that_an_earlier_filter_rejected_have_no_reward():
    candidates = judged(["a"] * 3, [False, False, True], reward_x=[None, 1.0, 3.0])
    length, reward = document_traits(candidates, RareWords([]))
    assert (length.name, len(length.values)) == ("length", 3)
    assert (reward.name, reward.values.tolist(), reward.kept.tolist()) == (
        "reward x",
        [1, 3],
        [False, True],
    )
    assert reward.differential == 1.0


def test_rare_words_are_the_rarest_tenth_of_human_text_and_documents_weigh_as_their_words():
    # Of 10 words of human text b is the rarest tenth; c is as seldom, and comes behind it.
    human = documents({"text": ["a a a a a a a a", "b c"]})
    texts = ["a b", "a c a c a c", "new", "!"]  # 2 rare words of 9
    found = measured(judged(texts, [True, True, False, True]), human=human)
    differential = found["selection_differential", "rare words"]  # kept: 1 of 8
    assert (differential.value, differential.n) == (pytest.approx(1 / 8 - 2 / 9), 3)
    # The shares are 1/2, 0 and 1, of 2, 6 and 1 words, so their mean square is 1.5/9.
    deviation = math.sqrt(1.5 / 9 - (2 / 9) ** 2)
    intensity = found["selection_intensity", "rare words"].value
    assert intensity == pytest.approx((1 / 8 - 2 / 9) / deviation)


def test_the_error_of_rare_words_is_that_of_a_ratio_of_means():
    rare = RareWords(["a a a a a a a a b c"])
    candidates = judged(["a b", "a c a c a c", "new"], [True, True, True])
    _, trait = document_traits(candidates, rare)
    # Rare words less mean share times words: 1 - 2/9 * 2, 0 - 2/9 * 6, 1 - 2/9 * 1.
    away = [5 / 9, -12 / 9, 7 / 9]
    assert trait.kept_error == pytest.approx(math.sqrt(sum(x * x for x in away)) / 9)
    length, _ = document_traits(candidates, rare)  # 2, 6 and 1 words: variance 14/3 of 3
    assert length.kept_error == pytest.approx(math.sqrt(14 / 3 / 3))


def test_without_a_filter_nothing_is_selected():
    found = measured(judged(["a", "a b"], [True, True]))
    assert found["selection_differential", "length"].value == 0


def test_what_cannot_be_measured_says_why():
    alike = measured(judged(["a", "b"], [True, False]))
    assert alike["selection_intensity", "length"].note == "all documents are alike"
    nothing = measured(judged(["a", "a b"], [False, False]))
    assert nothing["selection_differential", "length"].note == "nothing was kept"
    assert nothing["selection_differential", "rare words"].note == "nothing was kept"
    silent = measured(judged(["a", "!"], [False, True]))
    assert silent["selection_differential", "rare words"].note == "kept documents have no words"
    empty = measured(documents({"text": []}))
    assert {m.note for m in empty.values()} == {"no candidates"}
    assert np.isnan([m.value for m in empty.values()]).all()


def test_it_keeps_the_contract():
    testing.check_evaluator(Selection())
