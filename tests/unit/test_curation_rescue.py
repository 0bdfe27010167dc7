"""Rescue: the human tail is covered, by a greedy order and by weights that were worked by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from textmad.curation import Context, MatchedRandom, Rescue
from textmad.curation.protocol import run_filter
from textmad.curation.rescue import Bags, greedy_cover
from textmad.errors import CurationError, RecipeError
from textmad.recipe.components import Component
from textmad.text.documents import documents, take, token_counts

# 45 words. The five animals lie below a ninth of the mass, so they are the rarest tenth, and
# "the", below which they lie, is not.
HUMAN = ["the " * 20 + "ant bee cat", "the " * 20 + "dog eel"]


def given(texts, tokens=None):
    ids = [f"g0-{i}" for i in range(len(texts))]
    return documents({"text": texts, "id": ids, "tokens": tokens or [1] * len(texts)})


def context(human=HUMAN, seed=0):
    rng, text = np.random.default_rng(seed), documents({"text": list(human)})
    return Context(1, rng, text, lambda g: text, lambda t: [], lambda t: [], lambda t: [], 1)


def random_bags(rng, num_documents=40, num_types=15):
    """Counts of 0, 1 or 2, costs of 1, 2 or 3, ceilings from 0.5 to 3: many gains are equal."""
    held = rng.integers(0, 3, (num_documents, num_types)) * (rng.random(num_types) < 0.3)
    rows, types = np.nonzero(held)
    costs = rng.integers(1, 4, num_documents)
    ties = rng.permutation(num_documents) / num_documents
    return Bags(rows, types, held[rows, types]), rng.integers(1, 7, num_types) / 2, costs, ties


def reached(bags, ceilings, chosen):
    """What the counts of the chosen documents, each up to its ceiling, sum to."""
    mine = np.isin(bags.documents, chosen)
    counts = np.bincount(bags.types[mine], bags.counts[mine], len(ceilings))
    return np.minimum(counts, ceilings).sum()


# --- coverage -------------------------------------------------------------------------------


def test_documents_are_taken_for_the_rare_words_that_they_add_per_token():
    texts = [
        "the ant bee cat",  # 3 rare words / 5 tokens: the first
        "the ant bee",  # 2 / 4 at first; none is new behind the first
        "Dog!",  # 1 / 2: the second
        "the the the the eel",  # 1 / 6: the third
        "the the the",
        "zounds gadzooks",  # words nobody used are no part of the human tail
    ]
    candidates = given(texts, tokens=[5, 4, 2, 6, 4, 3])
    verdicts = Rescue(keep=0.5)(candidates, context())
    assert verdicts.keep.tolist() == [True, False, True, True, False, False]
    assert verdicts.score == pytest.approx([3 / 5, 0, 1 / 2, 1 / 6, 0, 0])
    assert verdicts.columns["rare_types"].tolist() == [3, 2, 1, 1, 0, 0]
    assert verdicts.reason == "not among the 0.5 that cover the human tail"


def test_a_rare_word_counts_as_often_as_human_text_of_the_kept_size_would_hold_it():
    # "ant" is 5 of 45 human words; half of the 36 drawn ones would hold it 18 / 9 = 2 times.
    texts = ["ant ant ant" + " the" * 6, "ant" + " the" * 8, "the " * 9, "the " * 9]
    verdicts = Rescue(keep=0.5)(given(texts, [10] * 4), context(["the " * 40 + "ant " * 5]))
    assert verdicts.keep[0]  # its two are enough: the second document adds nothing any more
    assert verdicts.score == pytest.approx([2 / 10, 0, 0, 0])


@pytest.mark.parametrize("seed", range(20))
def test_lazy_greedy_chooses_what_plain_greedy_chooses(seed):
    bags, ceilings, costs, ties = random_bags(np.random.default_rng(seed))
    chosen, gains = [], {}
    for _ in range(12):
        now = reached(bags, ceilings, chosen)
        adds = {
            row: (reached(bags, ceilings, [*chosen, row]) - now) / costs[row]
            for row in range(len(costs))
            if row not in chosen
        }
        best = min(adds, key=lambda row: (-adds[row], ties[row]))
        gains[best] = adds[best]
        chosen.append(best)
    cover = greedy_cover(bags, ceilings, costs, ties, 12)
    assert np.flatnonzero(cover.chosen).tolist() == sorted(chosen)
    assert cover.gains[chosen].tolist() == [gains[row] for row in chosen]
    assert cover.gains[chosen].min() >= cover.gains[~cover.chosen].max()  # a score ranks them


@pytest.mark.parametrize("seed", range(10))
def test_no_documents_of_equal_cost_cover_more_than_greedy_does_by_more_than_its_bound(seed):
    bags, ceilings, costs, ties = random_bags(np.random.default_rng(100 + seed), 9)
    mine = np.flatnonzero(greedy_cover(bags, ceilings, costs, ties, 4).chosen)
    best = max(
        reached(bags, ceilings, list(others))
        for size in range(10)
        for others in itertools.combinations(range(9), size)
        if costs[list(others)].sum() <= costs[mine].sum()
    )
    assert reached(bags, ceilings, mine) >= (1 - 1 / math.e) * best


def test_documents_that_add_nothing_are_kept_at_random():
    kept = [tuple(Rescue()(given(["the the"] * 6), context(seed=seed)).keep) for seed in range(20)]
    assert len(set(kept)) > 1


# --- weight ---------------------------------------------------------------------------------


def test_a_weight_is_the_mean_ratio_of_human_to_other_candidates_shares():
    texts = ["the the ant", "the bee the the", "the zounds", ""]
    # 9 words, so a ratio is at most 3. Human shares: the 40 / 45, animals 1 / 45.
    weights = [
        (2 * (8 / 9) / (4 / 6) + 3) / 3,  # others: "the" 4 of 6; none has "ant"
        (3 * (8 / 9) / (3 / 5) + 3) / 4,  # "the" 3 of 5; none has "bee"
        ((8 / 9) / (5 / 7) + 0) / 2,  # "the" 5 of 7; nobody has used "zounds"
        0,
    ]
    verdicts = Rescue("weight")(given(texts), context())
    assert verdicts.score == pytest.approx(weights)
    assert verdicts.columns["rare_types"].tolist() == [1, 1, 0, 0]
    assert verdicts.reason == "not among the 0.5 drawn by weight"


def test_documents_are_drawn_with_probability_proportional_to_their_weights():
    candidates = given(["the the ant", "the the the"] * 2000)
    verdicts = Rescue("weight", 0.05)(candidates, context())
    first, second = verdicts.score[:2]
    assert set(verdicts.score) == {first, second}
    # 200 of 4,000: that those drawn are not put back changes next to nothing.
    hits = int(verdicts.keep[::2].sum())
    assert first < 0.8 * second
    assert stats.binomtest(hits, 200, first / (first + second)).pvalue > 1e-3


def test_documents_without_a_human_word_are_drawn_last_and_then_at_random():
    candidates = given(["the", "ant", "zounds", "", "egad"])
    kept = [Rescue("weight", 0.6)(candidates, context(seed=seed)).keep for seed in range(30)]
    assert all(keep[:2].all() and keep.sum() == 3 for keep in kept)
    assert len({tuple(keep) for keep in kept}) == 3


# --- both -----------------------------------------------------------------------------------


def zipfian_texts(num_documents, shares, rng):
    """Documents of 5 to 40 words with the given shares."""
    ends = np.cumsum(rng.integers(5, 41, num_documents))
    words = rng.choice([f"w{index}" for index in range(len(shares))], ends[-1], p=shares)
    return [" ".join(held) for held in np.split(words, ends[:-1])]


@pytest.fixture(scope="module")
def collapsing():
    """Candidates that lack much of the human tail, and the human text."""
    rng = np.random.default_rng(0)
    human = 1 / np.arange(1, 2001)
    model = human**1.2
    texts = zipfian_texts(400, model / model.sum(), rng)
    candidates = given(texts, [len(text.split()) + 1 for text in texts])
    return candidates, zipfian_texts(1500, human / human.sum(), rng)


def rare_types_kept(candidates, human, keep):
    """The types kept, of those that make up the rarest tenth of the human text."""
    words, counts = np.unique(" ".join(human).split(), return_counts=True)
    order = np.argsort(counts, kind="stable")
    rare = set(words[order][np.cumsum(counts[order]) < counts.sum() / 10])
    return len(rare & set(" ".join(take(candidates, np.flatnonzero(keep))["text"]).split()))


@pytest.mark.parametrize(("by", "times"), [("coverage", 1.3), ("weight", 1.15)])
def test_the_kept_half_holds_more_of_the_human_tail_than_a_random_one_of_as_many_tokens(
    collapsing, by, times
):
    candidates, human = collapsing
    rescued, random = (
        judge(candidates, context(human)).keep for judge in (Rescue(by), MatchedRandom(Rescue(by)))
    )
    tokens = token_counts(candidates)
    assert 0 <= tokens[random].sum() - tokens[rescued].sum() < 41  # the last one may exceed
    found, by_chance = (rare_types_kept(candidates, human, keep) for keep in (rescued, random))
    assert found > times * by_chance


@pytest.mark.parametrize("by", ["coverage", "weight"])
def test_what_is_rescued_does_not_depend_on_the_order_of_documents(collapsing, by):
    candidates, human = collapsing
    order = np.random.default_rng(1).permutation(len(candidates))
    usual = Rescue(by, 0.3)(candidates, context(human))
    shuffled = Rescue(by, 0.3)(take(candidates, order), context(human))
    assert shuffled.keep.tolist() == usual.keep[order].tolist()
    assert shuffled.score.tolist() == usual.score[order].tolist()


@pytest.mark.parametrize("by", ["coverage", "weight"])
@pytest.mark.parametrize(
    ("keep", "num_documents", "kept"), [(0.3, 11, 3), (1.0, 7, 7), (0.5, 0, 0)]
)
def test_rescue_keeps_exactly_the_rounded_share(by, keep, num_documents, kept):
    assert Rescue(by, keep)(given(["the ant"] * num_documents), context()).keep.sum() == kept
    assert Rescue(by, keep).kept_share == keep


def test_human_text_without_words_has_nothing_to_rescue():
    message = (
        "filter rescue, generation 1: the human training pool has no words, so nothing in it is "
        "rare"
    )
    with pytest.raises(CurationError) as caught:
        run_filter("rescue", Rescue(), given(["the"]), context(["...", ""]))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "rarity"}, "rescue.by: rarity: expected 'coverage' or 'weight'"),
        ({"keep": 0}, "rescue.keep: 0: expected a share above 0 and at most 1"),
        ({"keep": 1.2}, "rescue.keep: 1.2: expected a share above 0 and at most 1"),
        ({"kep": 0.5}, "rescue.kep: unknown setting; did you mean keep?"),
    ],
)
def test_a_bad_setting_is_an_error_by_name(options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="rescue", options=options).build("filter")
    assert str(caught.value) == message


def test_a_recipe_names_rescue_and_its_twin():
    built = Component(name="twin rescue", options={"by": "weight", "keep": 0.4}).build("filter")
    assert built == MatchedRandom(Rescue("weight", 0.4))
    assert Component(name="rescue").resolved("filter").options == {"by": "coverage", "keep": 0.5}
