"""What is crawled: who is in it, that nothing but the text tells them apart, and who may know."""

import numpy as np
import pytest

from textmad.curation import Bots, Context, MatchedRandom, Random, Upvotes, apply_filters
from textmad.errors import CurationError
from textmad.loop.crawl import build_crawl, treat_as_human, with_label
from textmad.mixture import take_human_documents
from textmad.recipe import Recipe
from textmad.seeds import stream
from textmad.text.documents import HUMAN, MODEL, as_table, concatenate, content_id, documents

RECIPE = Recipe(
    mix={"human_tokens": 400, "model_tokens": 100},
    crawl={"contamination": 0.25, "oversample": 1.5},
    corpus={"min_words": 3, "max_words": 9},
)
# 600 tokens: 450 human and 150 a model's, whatever else there is.


def count_tokens(texts):
    """A token a word, and an end token."""
    return np.array([len(text.split()) + 1 for text in texts], np.int32)


def written(num, name, **columns):
    words = [f"{name}{i}" for i in range(50)]
    texts = [" ".join(stream(0, name, i).choice(words, 4)) for i in range(num)]
    return documents({"text": texts, "tokens": count_tokens(texts)} | columns)


HUMANS = written(
    300,
    "h",
    author=["forum"] * 300,
    votes=np.arange(300.0),
    time=np.arange(300.0),
    community=["tea"] * 300,
    conversation=[f"c{i}" for i in range(300)],
)
KEPT = written(
    80,
    "m",
    id=[f"g0-{i}" for i in range(80)],
    origin=[MODEL] * 80,
    generation=[0] * 80,
    author=["tiny-gpt2"] * 80,
    kept=[True] * 80,
)


def crawl(kept=KEPT, recipe=RECIPE, generation=1):
    return build_crawl(recipe, generation, HUMANS, kept, count_tokens)


def context(found):
    nothing = documents({"text": []})
    rng = np.random.default_rng(0)
    return Context(
        generation=1,
        rng=rng,
        human=nothing,
        earlier=lambda generation: nothing,
        token_nll=lambda texts: [],
        base_token_nll=lambda texts: [],
        encode=lambda texts: [],
        vocabulary_size=1,
        as_posted=found.as_posted,
    )


def test_each_side_has_its_tokens_to_within_a_document():
    found = crawl()
    origin = np.array(found.truth["origin"][:])
    tokens = np.array(found.as_human["tokens"][:])
    assert 0 <= tokens[origin == HUMAN].sum() - 450 < 5
    assert 0 <= tokens[origin == MODEL].sum() - 150 < 5
    known = set(take_human_documents(RECIPE.mix, 0, HUMANS, RECIPE.seed)["id"])
    assert set(found.truth["id"]) <= (set(HUMANS["id"]) - known) | set(KEPT["id"])
    assert len(set(found.as_human["id"])) == len(found.as_human)


def test_no_column_but_the_text_tells_human_and_model_apart():
    shown = as_table(crawl().as_human)
    texts = shown["text"].to_pylist()
    same_for_all = {
        "prompt": "",
        "origin": HUMAN,
        "generation": -1,
        "author": "forum",
        "finished": True,
        "conversation": None,
        "community": None,
        "time": None,
        "votes": None,
    }
    assert set(shown.column_names) == {"id", "text", "tokens", *same_for_all}
    for name, value in same_for_all.items():
        assert set(shown[name].to_pylist()) == {value}, name
    assert shown["id"].to_pylist() == [content_id(text) for text in texts]
    assert shown["tokens"].to_pylist() == count_tokens(texts).tolist()


def test_nor_does_the_place():
    # Of 30 model documents among 120 the mean place is that of chance, to within 4 deviations.
    is_model = np.array(crawl().truth["origin"][:]) == MODEL
    num, num_models = len(is_model), is_model.sum()
    places = np.flatnonzero(is_model)
    deviation = np.sqrt((num + 1) * (num - num_models) / (12 * num_models))
    assert abs(places.mean() - (num - 1) / 2) < 4 * deviation
    assert places.min() < num // 4
    assert places.max() > 3 * num // 4


def test_model_text_is_cleaned_and_bounded_like_the_corpus_and_each_text_is_there_once():
    human = take_human_documents(RECIPE.mix, 1, HUMANS, RECIPE.seed, RECIPE.crawl)["text"][0]
    odd = documents(
        {
            "id": [f"g0-{i}" for i in range(7)],
            "text": [
                "  ask @jane or\u200b nobody ",
                "too short",
                "one two three four five six seven eight nine ten",
                "it ends in the",
                "the end",
                "ask [user] or nobody",
                human,
            ],
            "prompt": ["", "", "", "", "a beginning and ", "", ""],
            "finished": [True, True, True, False, True, True, True],
            "origin": [MODEL] * 7,
        }
    )
    few = RECIPE.replace(crawl={"contamination": 10 / 600})
    found = crawl(odd, few)
    posted = np.array(found.truth["origin"][:]) == MODEL
    texts = np.array(found.as_human["text"][:])[posted]
    # 5 and 6 tokens; the budget is 10.
    assert sorted(texts) == ["a beginning and the end", "ask [user] or nobody"]
    assert set(found.as_human["prompt"]) == {""}


def test_model_text_with_more_tokens_than_a_human_document_may_have_is_not_posted():
    bounded = RECIPE.replace(crawl={"contamination": 10 / 600}, corpus={"max_tokens": 6})
    fitting = ["five words are five tokens", "and an end token each"]  # 6 tokens, 12 together
    drawn = documents(
        {
            "id": [f"g0-{i}" for i in range(4)],
            "text": ["here is one word too many", *fitting, "and this is one more too"],
            "finished": [True] * 4,
            "origin": [MODEL] * 4,
        }
    )
    found = crawl(drawn, bounded)  # the budget is 10
    posted = np.array(found.truth["origin"][:]) == MODEL
    assert sorted(np.array(found.as_human["text"][:])[posted]) == sorted(fitting)
    with pytest.raises(CurationError, match=r"needs 10 tokens .* its kept text has 6 in"):
        crawl(drawn.select([0, 1, 3]), bounded)


def test_the_same_documents_are_crawled_again_and_others_in_another_generation():
    again = crawl().as_human["id"][:]
    assert crawl().as_human["id"][:] == again
    later = crawl(generation=2)
    assert {i for i in later.truth["id"] if i[0] != "g"} == {
        i for i in crawl().truth["id"] if i[0] != "g"
    }  # human: fixed
    assert later.as_human["id"][:] != again


def test_without_contamination_there_is_human_text_alone():
    guarded = RECIPE.replace(crawl={"contamination": 0, "guard": ["random"]})
    nothing = KEPT.select([])
    assert set(crawl(nothing, guarded).truth["origin"]) == {HUMAN}


def test_too_little_posted_text_says_what_there_is_and_what_to_change():
    with pytest.raises(CurationError) as caught:
        crawl(KEPT.select(range(20)), generation=3)
    assert str(caught.value) == (
        "crawl.contamination: generation 3 needs 150 tokens that generation 2 posted without a "
        "label, its kept text has 100 in finished documents within corpus.min_words and "
        "max_words: raise sample.oversample, keep more in curate, or lower crawl.contamination or "
        "crawl.oversample"
    )


def test_guards_that_keep_too_little_say_have_and_need():
    found = crawl()
    half = [("random", Random(keep=0.5))]
    judged = apply_filters(found.as_human, half, lambda *_: context(found))
    assert treat_as_human(RECIPE.mix.model_copy(update={"human_tokens": 295}), 1, judged)
    with pytest.raises(CurationError) as caught:
        treat_as_human(RECIPE.mix, 1, judged)
    assert str(caught.value) == (
        "crawl.oversample: generation 1 needs 400 tokens of human text, the crawl filters kept 300 "
        "of the 600 crawled: raise crawl.oversample, or keep more in crawl.guard"
    )


def test_what_is_taken_for_human_is_kept_and_in_the_order_of_the_crawl():
    found = crawl()
    judged = apply_filters(found.as_human, [], lambda *_: context(found))
    taken = treat_as_human(RECIPE.mix, 1, found.revealed(judged))
    assert taken["id"][:] == found.as_human["id"][:80]  # 400 tokens at 5 a document
    assert taken["true_origin"][:] == found.truth["origin"][:80]


def test_what_was_posted_without_a_label_is_not_labelled_too():
    found = crawl()
    left = with_label(KEPT, found.revealed(found.as_human))
    posted = {name for name in found.truth["id"] if name.startswith("g0-")}
    assert len(posted) == 30
    assert set(left["id"]) == set(KEPT["id"]) - posted


def test_who_posted_knows_whose_text_it_is_in_any_order_and_part():
    found = crawl()
    rows = np.random.default_rng(0).permutation(len(found.as_human))[:50]
    known = found.as_posted(found.as_human.select(rows))
    assert known["text"][:] == found.as_human.select(rows)["text"][:]
    for name in ("origin", "generation", "author"):
        assert known[name][:] == found.truth.select(rows)[name][:]
    assert len(found.as_posted(found.as_human.select([]))) == 0


@pytest.mark.parametrize("target", [{"origin": "model"}, {"origin": "any", "author": "tiny-gpt2"}])
def test_bots_vote_for_the_text_of_their_own_model_and_people_cannot_see_it(target):
    found = crawl()
    crowd = Upvotes("variety", voters=10, noise=0, bots=Bots(share=0.3, **target))
    for judge in (crowd, MatchedRandom(crowd)):
        judged = apply_filters(found.as_human, [("upvotes", judge)], lambda *_: context(found))
        honest = apply_filters(
            found.as_human,
            [("upvotes", Upvotes("variety", voters=7, noise=0))],
            lambda *_: context(found),
        )
        more = np.array(judged["ups"][:]) - np.array(honest["ups"][:])
        is_model = np.array(found.truth["origin"][:]) == MODEL
        assert more[is_model].tolist() == [3] * 30
        assert not more[~is_model].any()


def test_outside_of_a_crawl_everybody_knows_what_is_shown():
    rng = np.random.default_rng(0)
    plain = Context(0, rng, KEPT, lambda g: KEPT, lambda t: [], lambda t: [], lambda t: [], 1)
    assert plain.as_posted(KEPT) is KEPT


def test_the_truth_comes_back_beside_the_verdicts():
    found = crawl()
    judged = apply_filters(found.as_human, [("random", Random())], lambda *_: context(found))
    revealed = found.revealed(judged)
    assert revealed["true_origin"][:] == found.truth["origin"][:]
    assert revealed["true_id"][:] == found.truth["id"][:]
    assert set(revealed["origin"]) == {HUMAN}
    assert concatenate([revealed]).column_names == found.as_human.column_names
