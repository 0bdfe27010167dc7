"""The crowd: what each setting does to the votes, against what the formula says."""

import re
import time

import numpy as np
import pytest

from textmad.curation import Bots, Context, Crowd, Exposure, Upvotes
from textmad.curation.crowd import cast_votes
from textmad.curation.voters import Electorate, sample_voters
from textmad.errors import RecipeError
from textmad.recipe import Recipe, load_recipe
from textmad.recipe.components import Component, read_component
from textmad.text.documents import documents


def numbers(texts):
    """A scorer that reads the quality out of the text."""
    return [float(text) for text in texts]


def length(texts):
    return [float(len(text)) for text in texts]


def context(seed=0):
    nothing = documents({"text": []})
    rng = np.random.default_rng(seed)
    return Context(2, rng, nothing, lambda g: nothing, lambda t: [], lambda t: [], lambda t: [], 1)


def candidates(qualities, order=None, **columns):
    order = range(len(qualities)) if order is None else order
    return documents(
        {
            "text": [repr(float(qualities[i])) for i in order],
            "id": [f"g2-{i:05d}" for i in order],
            "origin": ["model"] * len(qualities),
        }
        | columns
    )


def votes_on(qualities, seed=0, **settings):
    settings = {"scorer": numbers, "units": "raw"} | settings
    return Upvotes(**settings)(candidates(qualities), context(seed)).columns


def normal(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


EVERYTHING = {
    "voters": 40,
    "crowd": Crowd(
        noise_spread=0.5, strictness_spread=0.3, abstain=0.2, at_random=0.2, herding=0.3,
        care_spread=0.5,
    ),
    "bots": Bots(share=0.1, pattern="^-"),
    "exposure": Exposure("rank", attention=0.3, rounds=5),
}  # fmt: skip


@pytest.mark.parametrize("rank", ["net", "share", "wilson", "hot", "likes", "quality"])
def test_votes_and_kept_belong_to_the_documents_whatever_the_order_and_the_settings(rank):
    qualities, order = normal(300), np.random.default_rng(1).permutation(300)
    crowd = Upvotes(scorer=numbers, rank=rank, **EVERYTHING)
    straight = crowd(candidates(qualities), context())
    shuffled = crowd(candidates(qualities, order), context())
    assert shuffled.keep.tolist() == straight.keep[order].tolist()
    for name, column in straight.columns.items():
        assert shuffled.columns[name].tolist() == column[order].tolist(), name


def test_documents_are_voted_on_in_pieces_without_a_seam(monkeypatch):
    whole = votes_on(normal(500), **EVERYTHING)
    monkeypatch.setattr("textmad.curation.crowd._CHUNK", 7)
    pieces = votes_on(normal(500), **EVERYTHING)
    assert all((whole[name] == pieces[name]).all() for name in whole)


def test_a_hundred_thousand_documents_and_two_hundred_voters_take_less_than_two_seconds():
    num = 100_000
    ids, tastes = [f"g0-{i}" for i in range(num)], normal(num)[:, None]
    crowd = Electorate(voters=200, weights=np.ones(1), noise=1.0)
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        nobody = np.zeros(num, dtype=bool)
        cast_votes(
            ids, tastes, nobody, crowd, lambda ups, downs: ups - downs, np.random.default_rng(0)
        )
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 2


# --- who votes ------------------------------------------------------------------------------


def test_strictness_moves_the_threshold():
    # A document at the threshold is voted up by half of the crowd, one a unit above by 73 %.
    ups = votes_on([0.5] * 500 + [1.5] * 500, crowd=Crowd(strictness=0.5))["ups"] / 50
    # 25,000 votes each: standard deviation 0.003.
    assert ups[:500].mean() == pytest.approx(0.5, abs=0.015)
    assert ups[500:].mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=0.015)


def test_a_spread_of_strictness_makes_voters_disagree_though_each_sees_clearly():
    # Without noise a document of quality 0 is up for those with a threshold below it: half.
    electorate = Electorate(2000, np.ones(1), 0.0, Crowd(strictness_spread=2.0))
    thresholds = sample_voters(electorate, np.random.default_rng(0)).threshold
    assert thresholds.std() == pytest.approx(2.0, abs=0.15)  # standard deviation 0.03
    ups = votes_on([0.0], voters=2000, noise=0, crowd=Crowd(strictness_spread=2.0))["ups"][0]
    assert abs(ups - 1000) < 90  # binomial: standard deviation 22


def test_the_spread_of_noise_is_that_of_its_logarithm_around_the_median():
    electorate = Electorate(4000, np.ones(1), 3.0, Crowd(noise_spread=0.5))
    logs = np.log(sample_voters(electorate, np.random.default_rng(0)).noise)
    assert np.median(logs) == pytest.approx(np.log(3), abs=0.05)
    assert logs.std() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_tastes_spread_around_the_recipes_weights_by_the_share_of_the_largest_variance(spread):
    weights = np.array([0.75, -0.25])
    electorate = Electorate(4000, weights, 1.0, Crowd(taste_spread=spread))
    drawn = sample_voters(electorate, np.random.default_rng(0)).weights
    assert drawn.mean(axis=0) == pytest.approx(weights, abs=0.03)
    # spread x p (1 - p), p = 0.75
    assert drawn.var(axis=0) == pytest.approx([spread * 0.1875] * 2, abs=0.015)
    assert np.abs(drawn).sum(axis=1) == pytest.approx(1)


def test_a_mixture_of_scorers_is_weighed_in_standard_deviations():
    texts = ["1", "22", "333", "4"]
    given = documents({"text": texts, "id": list("abcd")})
    name = f"{__name__}:"
    crowd = Upvotes(scorer={f"{name}numbers": 3.0, f"{name}length": -1.0}, noise=0)
    verdicts = crowd(given, context())
    z = [(v - np.mean(v)) / np.std(v) for v in (np.array([1, 22, 333, 4]), np.array([1, 2, 3, 1]))]
    mixed = 0.75 * z[0] - 0.25 * z[1]
    assert verdicts.columns["quality"] == pytest.approx(mixed / mixed.std())
    assert verdicts.columns[f"reward_{name}length"].tolist() == [1, 2, 3, 1]


def test_abstaining_takes_votes_away_and_leaves_their_sign():
    all_vote, some = (votes_on([2.0] * 400, crowd=Crowd(abstain=a)) for a in (0.0, 0.4))
    cast = some["ups"] + some["downs"]
    assert (all_vote["ups"] + all_vote["downs"] == 50).all()
    assert cast.mean() == pytest.approx(30, abs=1)  # standard deviation of the mean 0.17
    share = some["ups"].sum() / cast.sum()
    assert share == pytest.approx(1 / (1 + np.exp(-2)), abs=0.02)
    assert (some["ups"] <= all_vote["ups"]).all()  # who votes, votes as before


@pytest.mark.parametrize("at_random", [0.2, 0.6, 1.0])
def test_half_of_the_random_votes_are_wrong(at_random):
    ups = votes_on([1.0] * 500 + [-1.0] * 500, noise=0, crowd=Crowd(at_random=at_random))["ups"]
    wrong = at_random / 2
    assert ups[:500].mean() / 50 == pytest.approx(1 - wrong, abs=0.015)
    assert ups[500:].mean() / 50 == pytest.approx(wrong, abs=0.015)


def test_with_the_whole_care_spread_a_voter_is_careless_always_or_never():
    crowd = Crowd(at_random=0.5, care_spread=1.0)
    members = sample_voters(Electorate(1000, np.ones(1), 0.0, crowd), np.random.default_rng(0))
    assert set(members.at_random) == {0.0, 1.0}
    assert members.at_random.mean() == pytest.approx(0.5, abs=0.07)


def test_a_crowd_of_random_votes_keeps_what_chance_keeps():
    qualities = normal(2000)
    best = qualities >= np.sort(qualities)[-500]
    crowd = Upvotes(scorer=numbers, keep=0.25, crowd=Crowd(at_random=1.0))
    overlap = (crowd(candidates(qualities), context()).keep & best).sum()
    # Hypergeometric: mean 125, standard deviation 8.4; four of these either way.
    assert abs(overlap - 125) < 34


def test_who_only_follows_repeats_the_first_vote():
    # Pure herding: the first vote is the voter's own, and all others copy its sign.
    columns = votes_on([0.0] * 200, voters=30, crowd=Crowd(herding=1.0))
    assert set(columns["ups"]) == {0, 30}
    assert abs((columns["ups"] == 30).sum() - 100) < 36  # five standard deviations


def test_herding_makes_equal_documents_unequal():
    alone, herd = (votes_on([0.0] * 500, crowd=Crowd(herding=h))["ups"] for h in (0.0, 0.5))
    assert alone.var() == pytest.approx(50 / 4, rel=0.3)  # binomial
    assert herd.var() > 5 * alone.var()


# --- bots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("vote", "sign"), [("up", 1), ("down", -1)])
def test_bots_of_share_b_move_the_expected_score_as_the_formula_says(vote, sign):
    # Score of a target (1 - b) s + b, or - b; of another document (1 - b) s.
    b, people = 0.3, 2 / (1 + np.exp(-0.5)) - 1
    crowd = Upvotes(scorer=numbers, units="raw", bots=Bots(share=b, vote=vote, pattern="^0"))
    score = crowd(candidates([0.5] * 600 + [-0.5] * 600), context()).score
    # 600 x 35 votes: standard deviation 0.005.
    assert score[:600].mean() == pytest.approx((1 - b) * people + sign * b, abs=0.02)
    assert score[600:].mean() == pytest.approx(-(1 - b) * people, abs=0.02)


def test_bots_do_not_change_how_people_vote():
    # The nth voter sees a document as before; with as many bots as people half of them are gone.
    without = votes_on(normal(200), voters=10)
    members = sample_voters(
        Electorate(10, np.ones(1), 1.0, bots=Bots(0.5)), np.random.default_rng(0)
    )
    assert members.is_bot.sum() == 5
    some = votes_on(normal(200), voters=10, bots=Bots(0.5, pattern="none"))
    assert (some["ups"] <= without["ups"]).all()
    assert (some["downs"] <= without["downs"]).all()
    assert (some["ups"] + some["downs"] == 5).all()


def test_where_everything_is_a_target_bots_leave_the_order_alone():
    qualities = normal(300)
    crowd = Upvotes(scorer=numbers, noise=0, bots=Bots(share=0.5))
    keep = crowd(candidates(qualities), context()).keep
    assert (
        keep.tolist()
        == Upvotes(scorer=numbers, noise=0)(candidates(qualities), context()).keep.tolist()
    )


def test_a_target_meets_origin_author_and_pattern():
    given = documents(
        {
            "text": ["buy", "buy", "buy", "sell"],
            "origin": ["model", "human", "model", "model"],
            "author": ["a", "a", "b", "a"],
        }
    )
    assert Bots(1).targets(given).tolist() == [True, False, True, True]
    assert Bots(1, origin="any").targets(given).all()
    assert Bots(1, origin="human").targets(given).tolist() == [False, True, False, False]
    assert Bots(1, author="a", pattern="b.y").targets(given).tolist() == [True] + [False] * 3


# --- who is shown what ----------------------------------------------------------------------


def test_limited_attention_shows_each_voter_that_share():
    columns = votes_on(normal(400), exposure=Exposure(attention=0.2))
    assert (columns["ups"] + columns["downs"] == columns["exposure"]).all()
    assert columns["exposure"].mean() == pytest.approx(10, abs=0.6)  # standard deviation 0.14


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("attention", [0.001, 0.1, 0.5, 0.99])
def test_the_chance_to_be_shown_falls_with_the_rank_and_sums_to_the_attention(exponent, attention):
    chance = Exposure("rank", attention, exponent).shown_by_rank(1000)
    assert chance.sum() == pytest.approx(1000 * attention)
    assert chance.max() <= 1
    uncertain = np.flatnonzero(chance < 1)
    ratios = chance[uncertain] / chance[uncertain[0]]
    assert ratios == pytest.approx(((uncertain + 1) / (uncertain[0] + 1)) ** -exponent)


def gini(counts):
    ordered = np.sort(counts)
    return 1 - 2 * ((np.cumsum(ordered) - ordered / 2) / ordered.sum()).mean()


def test_exposure_by_rank_makes_the_rich_richer():
    qualities = [1.0] * 500  # nobody deserves more
    even = votes_on(qualities, exposure=Exposure(attention=0.2))["ups"]
    ranked = votes_on(qualities, exposure=Exposure("rank", attention=0.2))["ups"]
    assert gini(ranked) > 2 * gini(even)


# --- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"crowd": {"care_spread": 0.5}},
            "crowd.care_spread: 0.5: has no effect while abstain and at_random are 0; raise one, "
            "or delete it",
        ),
        (
            {"crowd": {"taste_spread": 0.5}},
            "crowd.taste_spread: 0.5: has no effect with a single scorer; give several with their "
            "weights, or delete it",
        ),
        (
            {"bots": {"pattern": "buy"}},
            "bots.pattern: buy: has no effect while share is 0; raise it, or delete this",
        ),
        (
            {"exposure": {"by": "rank"}},
            "exposure.by: rank: has no effect while attention is 1, where everybody sees "
            "everything; lower attention, or delete it",
        ),
        (
            {"exposure": {"rounds": 3}},
            "exposure.rounds: 3: has no effect while by is uniform; set by: rank, or delete it",
        ),
        (
            {"exposure": {"hours": 3}},
            "exposure.hours: 3: has no effect while rank is net; set rank: hot, or delete it",
        ),
        (
            {"choice": {"temperature": 0.5}},
            "choice.temperature: 0.5: has no effect while by is top; set by: softmax or "
            "bradley_terry, or delete it",
        ),
        (
            {"choice": {"threshold": 0.5}},
            "choice.threshold: 0.5: has no effect while by is top; set by: threshold, or delete it",
        ),
        (
            {"choice": {"by": "threshold"}, "keep": 0.5},
            "keep: 0.5: has no effect while choice.by is threshold; delete it",
        ),
        (
            {"scorer": {"fluency": 0}},
            "scorer: {'fluency': 0.0}: expected finite weights, at least one of them other than 0",
        ),
        (
            {"scorer": {}},
            "scorer: {}: expected finite weights, at least one of them other than 0",
        ),
        ({"crowd": {"herdin": 1}}, "crowd.herdin: unknown setting; did you mean herding?"),
    ],
)
def test_settings_without_effect_or_name_are_errors(options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="upvotes", options=options).build("filter")
    assert str(caught.value) == f"upvotes.{message}"


def test_all_faults_of_a_group_are_reported_with_the_others():
    options = {"voters": 0.5, "crowd": {"herdin": 1, "abstain": "often"}}
    with pytest.raises(RecipeError) as caught:
        Component(name="upvotes", options=options).build("filter")
    assert str(caught.value).splitlines() == [
        "upvotes.voters: 0.5: expected a whole number or 'people'",
        "upvotes.crowd.herdin: unknown setting; did you mean herding?",
        "upvotes.crowd.abstain: often: expected a number",
    ]


def test_groups_of_settings_go_through_a_recipe_and_back(tmp_path):
    crowd = Upvotes(
        scorer={"fluency": 0.5, "toxicity": -0.5},
        crowd=Crowd(herding=0.3),
        bots=Bots(share=0.1, pattern="buy"),
        exposure=Exposure("rank", attention=0.2),
        rank="wilson",
    )
    recipe = Recipe(curate=[crowd])
    assert recipe.filters() == [crowd]
    assert recipe.curate[0].options["bots"]["pattern"] == "buy"
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "recipe.yaml").filters() == [crowd]
    assert read_component(crowd).build("filter") == crowd
    assert re.search(r"herding: 0\.3", recipe.to_yaml())
