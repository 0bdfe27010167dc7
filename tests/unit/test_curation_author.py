"""The author, who posts one of several drafts, and the twin, who keeps as many tokens by chance."""

import numpy as np
import pytest

from textmad.curation import Author, Context, Duplicates, Length, MatchedRandom, Random, Upvotes
from textmad.curation.protocol import apply_filters
from textmad.errors import CurationError, RecipeError
from textmad.recipe import Recipe
from textmad.recipe.components import Component, read_component
from textmad.testing.synthetic import written
from textmad.text.documents import documents


def numbers(texts):
    return [float(text) for text in texts]


def context(seed=0):
    nothing = documents({"text": []})
    rng = np.random.default_rng(seed)
    return Context(2, rng, nothing, lambda g: nothing, lambda t: [], lambda t: [], lambda t: [], 1)


def given(qualities, indices=None):
    indices = range(len(qualities)) if indices is None else indices
    ids = [f"g2-{index}" for index in indices]
    return documents({"text": [str(q) for q in qualities], "id": ids})


# --- the author -----------------------------------------------------------------------------


def test_without_noise_the_best_draft_of_each_slot_is_posted():
    keep = Author(3, numbers, noise=0)(given([1, 3, 2, 9, 8, 7, 5]), context()).keep
    assert keep.tolist() == [False, True, False, True, False, False, True]


def test_the_first_of_equally_good_drafts_is_posted():
    keep = Author(2, numbers, noise=0)(given([1, 1, 1, 1], [3, 2, 1, 0]), context()).keep
    assert keep.tolist() == [False, True, False, True]


def test_drafts_belong_to_a_slot_by_their_index_wherever_they_stand():
    # Indices 0 and 1 are one slot's, 10 and 11 another's.
    keep = Author(2, numbers, noise=0)(given([1, 2, 4, 3], [10, 0, 11, 1]), context()).keep
    assert keep.tolist() == [False, False, True, True]


def test_an_author_chooses_among_the_drafts_that_are_left():
    posted = [("author", Author(2, numbers, noise=0))]
    filters = [("length", lambda d, c: Length(1, 1)(d, c)), *posted]
    texts = ["1", "2", "3", "4 words are too many", "5 words", "6 words"]
    candidates = documents({"text": texts, "id": [f"g2-{i}" for i in range(6)]})
    result = apply_filters(candidates, filters, lambda *_: context())
    assert result["kept"][:] == [False, True, True, False, False, False]
    assert result["filter"][:] == ["author", "", "", "length", "length", "length"]
    assert result["reason"][0] == "another draft was posted"


def test_a_draft_is_posted_with_the_probability_of_its_quality():
    qualities = np.tile([0.0, 1.0], 10_000)
    keep = Author(2, numbers, noise=0.5, units="raw")(given(qualities), context()).keep
    # Standard deviation 0.003.
    assert keep[1::2].mean() == pytest.approx(1 / (1 + np.exp(-1 / 0.5)), abs=0.015)


def test_posted_drafts_do_not_depend_on_the_order_of_documents():
    qualities = np.random.default_rng(0).normal(size=99).round(3)
    order = np.random.default_rng(1).permutation(99)
    author = Author(4, numbers)
    straight = author(given(qualities), context())
    shuffled = author(given(qualities[order], order), context())
    assert shuffled.keep.tolist() == straight.keep[order].tolist()
    assert shuffled.score.tolist() == straight.score[order].tolist()


def test_what_the_author_posts_meets_the_crowd():
    qualities = np.random.default_rng(0).normal(size=400).round(3)
    filters = [
        ("author", Author(4, numbers, noise=0)),
        ("upvotes", Upvotes(numbers, noise=0, keep=0.5)),
    ]
    kept = apply_filters(given(qualities), filters, lambda *_: context())
    posted = np.sort(qualities.reshape(100, 4).max(axis=1))
    assert sorted(numbers(kept.filter(lambda row: row["kept"])["text"])) == posted[50:].tolist()
    assert sum(votes is not None for votes in kept["votes"]) == 100


def test_a_document_without_an_index_has_no_slot():
    with pytest.raises(
        CurationError, match=r'^filter author, generation 2: document a \("1"\) has'
    ):
        apply_filters(
            documents({"text": ["1"], "id": ["a"]}),
            [("author", Author(scorer=numbers))],
            lambda *_: context(),
        )


# --- the twin -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "original",
    [Upvotes(numbers, keep=0.3), Random(0.5), Length(1, 20), Duplicates(), Author(3, numbers)],
    ids=lambda judge: type(judge).__name__,
)
def test_a_twin_keeps_as_many_tokens_within_one_document(original):
    drawn = written(2, 200)
    texts = [str(len(text)) + " x" * (len(text) % 40) for text in drawn["text"]]
    if hasattr(original, "scorer"):
        texts = [text.split()[0] for text in texts]
    candidates = documents({"text": texts, "id": drawn["id"][:], "tokens": drawn["tokens"][:]})
    tokens = np.array(drawn["tokens"])
    wanted = tokens[original(candidates, context()).keep].sum()
    keep = MatchedRandom(original)(candidates, context()).keep
    assert 0 <= tokens[keep].sum() - wanted < tokens.max()


def test_a_twin_does_not_heed_quality():
    qualities = np.random.default_rng(0).normal(size=2000).round(4)
    best = qualities >= np.sort(qualities)[-500]
    keep = MatchedRandom(Upvotes(numbers, noise=0, keep=0.25))(given(qualities), context()).keep
    assert keep.sum() == 500  # of equal length
    # Hypergeometric: mean 125, standard deviation 8.4; four of these either way.
    assert abs((keep & best).sum() - 125) < 34


def test_the_votes_of_the_original_stay_in_the_twins_table():
    qualities = np.random.default_rng(0).normal(size=50).round(4)
    upvotes = Upvotes(numbers)
    votes = upvotes(given(qualities), context()).columns["ups"]
    assert (
        MatchedRandom(upvotes)(given(qualities), context()).columns["ups"].tolist()
        == votes.tolist()
    )


def test_one_word_in_the_recipe_makes_a_filter_its_twin():
    plain = Recipe(curate=[{"upvotes": {"keep": 0.4}}, "length"])
    twin = Recipe(curate=[{"twin upvotes": {"keep": 0.4}}, "twin length"])
    assert twin.filters() == [MatchedRandom(judge) for judge in plain.filters()]
    assert Recipe(curate=[MatchedRandom(judge) for judge in plain.filters()]) == twin
    assert twin.curate[0].options == plain.curate[0].options
    assert read_component(MatchedRandom(Upvotes())).name == "twin upvotes"


@pytest.mark.parametrize(
    ("name", "options", "beginning", "end"),
    [
        (
            "twin upvots",
            {},
            "upvots: unknown filter; built in are author, ",
            ", upvotes, watermark; your own is module:name; did you mean upvotes?",
        ),
        ("twin upvotes", {"voters": 0}, "upvotes.voters: 0: expected at least 1", ""),
    ],
)
def test_a_twin_of_nothing_is_an_error(name, options, beginning, end):
    with pytest.raises(RecipeError) as caught:
        Component(name=name, options=options).build("filter")
    assert str(caught.value).startswith(beginning)
    assert str(caught.value).endswith(end)


def test_an_error_in_the_original_is_named_by_its_twin():
    def spoiled(texts):
        return [float("nan")] * len(texts)

    filters = [("twin upvotes", MatchedRandom(Upvotes(spoiled)))]
    with pytest.raises(CurationError) as caught:
        apply_filters(given([1, 2]), filters, lambda *_: context())
    assert str(caught.value).startswith("filter twin upvotes, generation 2: filter upvotes, ")


def test_what_is_known_to_be_kept_is_known_of_author_and_twin():
    assert Author(4).kept_share == 0.25
    assert MatchedRandom(Author(4)).kept_share == 0.25
    assert MatchedRandom(Length()).kept_share == 1.0
