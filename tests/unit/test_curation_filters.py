"""The built-in filters other than votes, by hand-derived verdicts and by their bad settings."""

import numpy as np
import pytest

from textmad.curation import Context, Duplicates, Length, Random, Repetition
from textmad.curation.document_rng import document_uniforms
from textmad.curation.quality import repeated_share
from textmad.errors import RecipeError
from textmad.recipe.components import Component, read_component
from textmad.text.documents import documents


def given(texts, ids=None):
    return documents({"text": texts, "id": ids or [f"g0-{i}" for i in range(len(texts))]})


NOTHING = documents({"text": []})


def context(seed=0):
    rng = np.random.default_rng(seed)
    return Context(0, rng, NOTHING, lambda g: NOTHING, lambda t: [], lambda t: [], lambda t: [], 1)


def judge(filter_, texts, ids=None):
    return filter_(given(texts, ids), context())


@pytest.mark.parametrize(
    ("keep", "num_documents", "kept"), [(0.25, 100, 25), (0.3, 11, 3), (1.0, 7, 7), (0.5, 0, 0)]
)
def test_random_keeps_exactly_the_rounded_share(keep, num_documents, kept):
    assert judge(Random(keep), ["x"] * num_documents).keep.sum() == kept


def test_random_keeps_each_document_equally_often():
    candidates = given(["x"] * 40)
    hits = sum(Random(0.25)(candidates, context(seed)).keep.astype(int) for seed in range(100))
    # Binomial(100, 0.25): mean 25, standard deviation 4.3; four of these either way.
    assert hits.min() > 7
    assert hits.max() < 43


def test_what_random_keeps_does_not_depend_on_the_order_of_documents():
    ids = [f"g0-{i}" for i in range(50)]
    forward = judge(Random(0.5), ["x"] * 50, ids=ids).keep
    backward = judge(Random(0.5), ["x"] * 50, ids=ids[::-1]).keep
    assert forward.tolist() == backward[::-1].tolist()


def test_document_uniforms_are_uniform_and_independent_between_draws():
    ids = [str(i) for i in range(20_000)]
    first, second = document_uniforms(ids, np.random.default_rng(0), 2)
    for draw in (first, second):
        shares = np.histogram(draw, bins=10, range=(0, 1))[0] / len(ids)
        assert abs(shares - 0.1).max() < 0.01  # standard deviation 0.002
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03  # standard deviation 0.007


def test_length_counts_words_and_says_which_bound_was_broken():
    verdicts = judge(Length(2, 3), ["one", "one two", "a b c", "a b c d"])
    assert verdicts.keep.tolist() == [False, True, True, False]
    assert verdicts.score.tolist() == [1, 2, 3, 4]
    assert verdicts.reason[0] == "1 words, fewer than 2"
    assert verdicts.reason[3] == "4 words, more than 3"


def test_length_counts_the_words_of_scripts_without_spaces():
    texts = ["去", "我们去学校。", "我们今天去学校。我们今天去学校。"]
    verdicts = judge(Length(2, 5), texts)
    assert verdicts.score.tolist() == [1, 3, 8]
    assert verdicts.keep.tolist() == [False, True, False]
    assert verdicts.reason[2] == "8 words, more than 5"


@pytest.mark.parametrize(
    ("text", "ngram", "share"),
    [
        ("a b c d", 2, 0.0),
        ("a b a b", 2, 2 / 4),  # the second "a b"
        ("a b a b a b", 2, 4 / 6),
        ("a a a", 2, 2 / 3),  # the second "a a" overlaps the first: its two words count
        ("aaa b aaa b", 2, 4 / 8),  # by characters
        ("aaa b c aaa", 1, 3 / 8),
        ("A b a B", 2, 2 / 4),  # letter case counts for nothing
        (
            "我们去学校。我们去学校。",
            2,
            5 / 10,
        ),  # six words without white space
        ("我们去学校。", 2, 0.0),
        ("a", 2, 0.0),
        ("", 2, 0.0),
    ],
)
def test_the_repeated_share_is_that_of_characters_in_ngrams_seen_before(text, ngram, share):
    assert repeated_share(text, ngram) == pytest.approx(share)


def test_repetition_keeps_up_to_its_share_and_says_how_much_is_repeated():
    verdicts = judge(Repetition(ngram=2, max_share=0.5), ["a b a b", "a b a b a b"])
    assert verdicts.keep.tolist() == [True, False]
    assert verdicts.reason[1] == "0.67 of it repeats earlier 2-grams"


def test_duplicates_keeps_the_first_copy_and_names_it_to_the_others():
    verdicts = judge(Duplicates(), ["where do you live", "I like tea", "Where do you live?"])
    assert verdicts.keep.tolist() == [True, True, False]
    assert verdicts.score.tolist() == [0, 0, 1]
    assert verdicts.reason[2] == "repeats g0-0"


def test_duplicates_without_a_threshold_wants_copies_to_the_letter():
    verdicts = judge(Duplicates(threshold=None), ["I like tea", "I like tea.", "I like tea"])
    assert verdicts.keep.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", {"keep": 1.5}, "random.keep: 1.5: expected a share above 0 and at most 1"),
        ("random", {"keep": 0}, "random.keep: 0: expected a share above 0 and at most 1"),
        (
            "random",
            {"keep": float("nan")},
            "random.keep: nan: expected a share above 0 and at most 1",
        ),
        ("random", {"share": 0.5}, "random.share: unknown setting"),
        ("length", {"min_words": -1}, "length.min_words: -1: expected at least 0"),
        (
            "length",
            {"min_words": 5, "max_words": 4},
            "length.max_words: 4: expected at least 1 and no less than min_words: 5",
        ),
        ("length", {"max_words": 2.5}, "length.max_words: 2.5: expected a whole number"),
        ("repetition", {"ngram": 0}, "repetition.ngram: 0: expected at least 1 word"),
        ("repetition", {"max_share": 2}, "repetition.max_share: 2: expected a share from 0 to 1"),
        (
            "duplicates",
            {"threshold": 0},
            "duplicates.threshold: 0: expected a similarity above 0 and at most 1, "
            "or null for exact copies alone",
        ),
    ],
)
def test_a_bad_setting_is_an_error_by_name(name, options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name=name, options=options).build("filter")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "options", "built"),
    [
        ("random", {"keep": 0.5}, Random(0.5)),
        ("length", {"max_words": 30}, Length(8, 30)),
        ("repetition", {}, Repetition(5, 0.15)),
        ("duplicates", {"threshold": None}, Duplicates(None)),
    ],
)
def test_a_recipe_names_the_built_in_filters_and_their_fields(name, options, built):
    component = Component(name=name, options=options)
    assert component.build("filter") == built
    assert read_component(built).build("filter") == built
