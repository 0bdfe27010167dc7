"""The discriminator: who is asked, what is learned from, and what is kept."""

from dataclasses import replace

import numpy as np
import pytest

from textmad.curation import Choice, Context, Crowd, Discriminator, Upvotes, apply_filters
from textmad.errors import CurationError, RecipeError
from textmad.recipe.components import Component, read_component
from textmad.text.documents import documents, take

WORDS = [f"word{index}" for index in range(40)]
LIKED = set(WORDS[:8])
NOTHING = documents({"text": []})


def liking(texts):
    """A scorer: how many of the words are liked."""
    return [float(sum(word in LIKED for word in text.split())) for text in texts]


CROWD = Upvotes(scorer=liking, voters=20, noise=0.2, keep=0.5)


def candidates(num=400, generation=2):
    rng = np.random.default_rng(generation)
    return documents(
        {
            "text": [" ".join(rng.choice(WORDS, 12)) for _ in range(num)],
            "id": [f"g{generation}-{index}" for index in range(num)],
            "origin": ["model"] * num,
        }
    )


def context(seed=0, generation=0, earlier=None, **changes):
    rng = np.random.default_rng(seed)
    no = [lambda texts: []] * 3
    given = Context(generation, rng, NOTHING, earlier or (lambda g: NOTHING), *no, 0)
    return replace(given, **changes)


def judged(judge, given=None, **changes):
    """Verdicts with their columns as arrays by name."""
    verdicts = judge(candidates() if given is None else given, context(**changes))
    return {"keep": verdicts.keep, "reason": np.array(verdicts.reason), **verdicts.columns}


@pytest.fixture(scope="module")
def found():
    return judged(Discriminator(keep=0.3, votes=CROWD, budget=100, check=60))


def test_the_crowd_is_asked_of_as_many_as_set_and_never_twice_of_one(found):
    asked, checked = found["crowd_accepts"] != 0, found["check_accepts"] != 0
    assert (asked.sum(), checked.sum()) == (100, 60)
    assert not (asked & checked).any()
    # As upvotes keeps half of what it is given, the crowd accepts half of what it is asked of.
    assert (found["crowd_accepts"] == 1).sum() == 50
    assert (found["check_accepts"] == 1).sum() == 30
    assert set(found["lessons"]) == {100}


def test_the_surest_are_kept_as_many_as_set_and_none_that_the_crowd_rejects(found):
    keep, probability, out = (
        found[name] for name in ("keep", "accept_probability", "crowd_accepts")
    )
    assert keep.sum() == round(0.3 * 400)
    assert not keep[out == -1].any()
    assert probability[keep].min() >= probability[~keep & (out != -1)].max()
    # Such as the crowd was not asked of are judged by the classifier alone.
    assert 0 < (keep & (found["check_accepts"] == -1)).sum() < 18
    rejected, unsure = "the crowd rejects it", "not among the 0.3 that the discriminator accepts"
    assert (found["reason"][~keep & (out == -1)] == rejected).all()
    assert np.char.startswith(found["reason"][~keep & (out != -1)], unsure).all()


def test_the_classifier_finds_what_the_crowd_likes_where_it_was_not_asked(found):
    liked = np.array(liking(candidates()["text"][:]))
    unseen = found["crowd_accepts"] == 0
    assert np.corrcoef(found["accept_probability"][unseen], liked[unseen])[0, 1] > 0.5
    assert liked[unseen & found["keep"]].mean() > liked[unseen].mean() + 0.8


def test_it_accepts_what_is_likelier_than_the_average_lesson_to_be_accepted():
    few = judged(Discriminator(votes=replace(CROWD, keep=0.2), budget=100, check=0))
    accepted = few["accept_probability"] > 0.2
    assert few["discriminator_accepts"].tolist() == accepted.tolist()
    assert 0 < accepted.sum() < 400


def test_what_is_only_checked_teaches_nothing_and_decides_nothing(found):
    unchecked = judged(Discriminator(keep=0.3, votes=CROWD, budget=100, check=0))
    assert (unchecked.pop("check_accepts") == 0).all()
    for name, values in unchecked.items():
        assert values.tolist() == found[name].tolist()


def test_verdicts_belong_to_the_document_whatever_the_order(found):
    order = np.random.default_rng(1).permutation(400)
    judge = Discriminator(keep=0.3, votes=CROWD, budget=100, check=60)
    shuffled = judged(judge, take(candidates(), order))
    for name, values in shuffled.items():
        assert values.tolist() == found[name][order].tolist()


def test_another_stream_asks_of_others(found):
    other = judged(Discriminator(keep=0.3, votes=CROWD, budget=100, check=60), seed=1)
    assert other["crowd_accepts"].tolist() != found["crowd_accepts"].tolist()


# --- what is learned from -------------------------------------------------------------------


@pytest.fixture(scope="module")
def history():
    """Two generations as the filters `length` and `discriminator` leave them."""

    def odd_ones_out(given, _):
        from textmad.curation import Verdicts

        place = np.array([int(name.split("-")[1]) for name in given["id"][:]])
        return Verdicts(place % 4 != 0, place.astype(float), "a fourth is out before")

    judge = Discriminator(keep=0.5, votes=CROWD, budget=30, check=20)
    filters = [("odd", odd_ones_out), ("discriminator", judge)]
    return [
        apply_filters(candidates(120, g), filters, lambda *_, g=g: context(seed=g, generation=0))
        for g in (0, 1)
    ]


def learned_by(learn_from, history):
    """What reaches the classifier in generation 2."""
    told = []

    def fit_classifier(texts, accepted, **settings):
        told.append((texts, accepted, settings))
        return lambda others: np.full(len(others), 0.5)

    judge = Discriminator(
        votes=CROWD,
        budget=30,
        check=20,
        learn_from=learn_from,
        backend="lora",
        epochs=2,
        learning_rate=0.01,
    )
    found = judged(
        judge,
        generation=2,
        earlier=lambda g: history[g],
        fit_classifier=fit_classifier,
    )
    (lessons,) = told
    return lessons, found


def test_all_votes_so_far_are_learned_from_but_not_those_of_the_check(history):
    (texts, accepted, _), found = learned_by("all", history)
    assert set(found["lessons"]) == {90}
    known = {
        text: said == 1
        for table in history
        for text, said in zip(table["text"][:], table["crowd_accepts"][:], strict=True)
        if said
    }
    assert len(known) == 60
    assert dict(zip(texts[:60], accepted[:60], strict=True)) == known


def test_the_latest_votes_alone_are_the_same_in_every_history(history):
    (texts, accepted, settings), found = learned_by("latest", history)
    assert set(found["lessons"]) == {30}
    said = dict(zip(candidates()["text"][:], found["crowd_accepts"], strict=True))
    assert [said[text] == 1 for text in texts] == accepted
    assert (settings["epochs"], settings["learning_rate"]) == (2, 0.01)
    everything, _ = learned_by("all", history)
    assert everything[0][60:] == texts
    assert everything[2] == settings  # and the same seed


def test_equal_probabilities_are_kept_in_the_order_of_ids(history):
    _, found = learned_by("latest", history)
    ids = np.array(candidates()["id"][:])
    first = sorted(ids[found["crowd_accepts"] != -1])[:100]
    assert sorted(ids[found["keep"]]) == first


# --- when there is little to learn from -----------------------------------------------------


def test_where_the_crowd_has_seen_all_it_decides():
    given = candidates(20)
    found = judged(Discriminator(keep=1.0, votes=CROWD), given)
    assert found["keep"].tolist() == (found["crowd_accepts"] == 1).tolist()
    assert (found["check_accepts"] == 0).all()
    (one,) = judged(Discriminator(votes=replace(CROWD, keep=1.0), keep=1.0), candidates(1))["keep"]
    assert one


@pytest.mark.parametrize(("threshold", "which"), [(-2.0, "all"), (2.0, "none")])
def test_votes_of_one_kind_are_errors_with_filter_generation_and_what_to_do(threshold, which):
    votes = Upvotes(scorer=liking, choice=Choice("threshold", threshold=threshold))
    filters = [("discriminator", Discriminator(votes=votes, budget=50))]
    with pytest.raises(CurationError) as caught:
        apply_filters(candidates(), filters, lambda *_: context(generation=3))
    assert str(caught.value) == (
        "filter discriminator, generation 3: of the 50 documents that the crowd has voted on it "
        f"accepted {which}, so there is nothing to tell apart; raise budget, or change what the "
        "crowd accepts: votes.keep, or the threshold of votes.choice"
    )


def test_a_base_that_learns_no_classifier_is_an_error():
    with pytest.raises(CurationError, match="the base model has no fit_classifier"):
        Discriminator(votes=CROWD, backend="lora")(candidates(), context())


def test_a_second_discriminator_is_an_error():
    filters = [("discriminator", Discriminator(keep=0.5, votes=CROWD))] * 2
    with pytest.raises(CurationError, match="have a column crowd_accepts already"):
        apply_filters(candidates(), filters, lambda *_: context())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "discriminator.keep: 0: expected a share above 0 and at most 1"),
        ({"budget": 1}, "discriminator.budget: 1: expected at least 2"),
        ({"check": -1}, "discriminator.check: -1: expected at least 0"),
        (
            {"epochs": 2},
            "discriminator.epochs: 2: has no effect while backend is features; set "
            "backend: lora, or delete it",
        ),
        (
            {"backend": "lora", "learning_rate": 0.0},
            "discriminator.learning_rate: 0: expected a finite number above 0",
        ),
        (
            {"learn_from": "some"},
            "discriminator.learn_from: some: expected 'all' or 'latest'",
        ),
        (
            {"votes": {"scorer": "fluent"}},
            "discriminator.votes.scorer: fluent: unknown scorer; built in are fluency, "
            "learned_votes, surprise, toxicity, variety, residual(SCORER), words(LIST), "
            "length(WORDS) and learned_votes(FOLDER); your own is module:name; did you mean "
            "fluency?",
        ),
        (
            {"votes": {"scorer": {"fluency": 1, "variety": 1}, "crowd": {"drift": 0.1}}},
            "discriminator.votes.crowd.drift: 0.1: expected 0, since this crowd votes on a few "
            "documents alone; delete it",
        ),
        (
            {"votes": {"crowd": {"herding": 2}}},
            "discriminator.votes.crowd.herding: 2: expected a share from 0 to 1",
        ),
    ],
)
def test_a_bad_setting_is_an_error_by_name(options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="discriminator", options=options).build("filter")
    assert str(caught.value) == message


def test_a_recipe_sets_its_crowd_as_that_of_upvotes():
    options = {"budget": 50, "votes": {"voters": 5, "crowd": {"herding": 0.2}}}
    built = Component(name="discriminator", options=options).build("filter")
    assert built == Discriminator(budget=50, votes=Upvotes(voters=5, crowd=Crowd(herding=0.2)))
    assert read_component(built).build("filter") == built
    assert (built.kept_share, built.scorer) == (0.25, "fluency")
