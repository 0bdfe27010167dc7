"""The voting crowd: its limits, its probabilities, and what a bad scorer is told."""

import re

import numpy as np
import pytest

from textmad.curation import Context, Upvotes, apply_filters
from textmad.curation.ranking import Choice
from textmad.curation.scorers import hdd
from textmad.curation.voters import Bots, Crowd
from textmad.errors import CurationError, RecipeError
from textmad.recipe.components import Component, read_component
from textmad.text.documents import documents


def numbers(texts):
    """A scorer that reads the quality out of the text."""
    return [float(text) for text in texts]


def context(seed=0, nll=None):
    nothing = documents({"text": []})
    rng = np.random.default_rng(seed)
    nll = nll or (lambda t: [])
    return Context(2, rng, nothing, lambda g: nothing, lambda t: [], nll, lambda t: [], 1)


def candidates(qualities, order=None):
    order = range(len(qualities)) if order is None else order
    return documents(
        {"text": [str(qualities[i]) for i in order], "id": [f"g2-{i:05d}" for i in order]}
    )


def normal(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


def test_a_crowd_without_noise_ranks_by_quality_exactly():
    qualities = normal(200)
    verdicts = Upvotes(scorer=numbers, noise=0, keep=0.3)(candidates(qualities), context())
    assert verdicts.keep.tolist() == (qualities >= np.sort(qualities)[-60]).tolist()


@pytest.mark.parametrize("voters", [1, 50])
def test_a_crowd_of_pure_noise_keeps_what_chance_keeps(voters):
    qualities = normal(2000)
    best = qualities >= np.sort(qualities)[-500]
    crowd = Upvotes(scorer=numbers, voters=voters, noise=1e9, keep=0.25)
    overlap = (crowd(candidates(qualities), context()).keep & best).sum()
    # Hypergeometric: mean 125, standard deviation 8.4; four of these either way.
    assert abs(overlap - 125) < 34


def test_an_upvote_has_the_logistic_probability_of_the_quality():
    qualities = [1.0, -1.0] * 1000  # already standardised
    verdicts = Upvotes(scorer=numbers, noise=2.0)(candidates(qualities), context())
    share = verdicts.columns["ups"] / 50
    # 50,000 votes each: standard deviation 0.0022.
    assert share[::2].mean() == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.01)
    assert share[1::2].mean() == pytest.approx(1 / (1 + np.exp(0.5)), abs=0.01)


def test_votes_belong_to_the_document_whatever_the_order():
    qualities, order = normal(100), np.random.default_rng(1).permutation(100)
    crowd = Upvotes(scorer=numbers)
    straight = crowd(candidates(qualities), context())
    shuffled = crowd(candidates(qualities, order), context())
    assert shuffled.columns["ups"].tolist() == straight.columns["ups"][order].tolist()
    assert shuffled.keep.tolist() == straight.keep[order].tolist()


def test_another_stream_gives_other_votes():
    crowd, given = Upvotes(scorer=numbers), candidates(normal(100))
    one, other = (crowd(given, context(seed)).columns["ups"] for seed in (0, 1))
    assert one.tolist() != other.tolist()


def test_each_voter_votes_once_and_the_difference_becomes_the_documents_votes():
    crowd = Upvotes(scorer=numbers, voters=9, keep=0.5)
    table = apply_filters(candidates(normal(40)), [("upvotes", crowd)], lambda *_: context())
    ups, downs = np.array(table["ups"][:]), np.array(table["downs"][:])
    assert (ups + downs == 9).all()
    assert table["votes"][:] == (ups - downs).tolist()
    assert table["score"][:] == ((ups - downs) / 9).tolist()
    assert sum(table["kept"][:]) == 20


def test_quality_is_standardised_over_the_candidates():
    verdicts = Upvotes(scorer=numbers)(candidates([10.0, 20.0]), context())
    assert verdicts.columns["quality"].tolist() == [-1.0, 1.0]


def test_equal_quality_without_noise_is_kept_in_the_order_of_ids():
    verdicts = Upvotes(scorer=numbers, noise=0, keep=0.5)(
        candidates([5.0] * 4, order=[3, 1, 0, 2]), context()
    )
    assert verdicts.keep.tolist() == [False, True, True, False]


def test_fluency_is_the_mean_log_likelihood_under_the_base_model():
    losses = {"a": np.array([2.0, 4.0]), "b": np.array([1.0])}
    given = documents({"text": ["a", "b"]})
    crowd = Upvotes(noise=0, keep=0.5)
    verdicts = crowd(given, context(nll=lambda texts: [losses[t] for t in texts]))
    assert verdicts.keep.tolist() == [False, True]  # -3 against -1 nats


def test_variety_is_the_expected_share_of_distinct_words():
    # Samples of two of {a, a, b}: aa, ab, ab -> 1, 2, 2 distinct words.
    assert hdd(["a", "a", "b"], 2) == pytest.approx((1 + 2 + 2) / 3 / 2)
    assert hdd(["a"], 10) == 1.0
    assert hdd([], 10) == 0.0


def test_variety_does_not_fall_because_a_text_is_long():
    rng = np.random.default_rng(0)
    words = [str(w) for w in rng.integers(0, 50, 20_000)]
    short = np.mean([hdd(words[i : i + 20], 10) for i in range(0, 20_000, 20)])
    long = np.mean([hdd(words[i : i + 200], 10) for i in range(0, 20_000, 200)])
    assert long == pytest.approx(short, abs=0.01)


def test_variety_prefers_varied_words():
    given = documents({"text": ["no " * 12, "every word here is another one than all before it"]})
    verdicts = Upvotes(scorer="variety", noise=0, keep=0.5)(given, context())
    assert verdicts.keep.tolist() == [False, True]


def raising(texts):
    if "-7" in texts:
        raise ZeroDivisionError("no")
    return numbers(texts)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (
            raising,
            f"raised ZeroDivisionError: no ({__file__}, line "
            f"{raising.__code__.co_firstlineno + 2}, in raising); "
            'so it does on document g2-00002 ("-7") alone',
        ),
        (lambda texts: [1.0], "gave 1 values for 4 texts, expected 1 each"),
        (
            lambda texts: [1.0, float("nan"), 1.0, 1.0],
            'gave nan for document g2-00001 ("2"), expected a finite number',
        ),
        (
            lambda texts: [1.0, 1.0, 1.0, -float("inf")],
            'gave -inf for document g2-00003 ("4"), expected a finite number',
        ),
        (
            lambda texts: ["good"] * 4,
            "gave 'good' for document g2-00000 (\"1\"), expected a finite number",
        ),
        (lambda texts: 1.0, "gave float, expected a list of 4 numbers"),
    ],
)
def test_a_bad_scorer_is_told_the_filter_the_generation_and_the_document(scorer, message):
    filters = [("upvotes", Upvotes(scorer=scorer))]
    with pytest.raises(CurationError) as caught:
        apply_filters(candidates(["1", "2", "-7", "4"]), filters, lambda *_: context())
    text = str(caught.value)
    assert text.startswith("filter upvotes, generation 2: scorer ")
    assert text.endswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scorer": "fluent"},
            "upvotes.scorer: fluent: unknown scorer; "
            "built in are fluency, learned_votes, surprise, toxicity, variety, residual(SCORER), "
            "words(LIST), length(WORDS) and learned_votes(FOLDER); your own is module:name; "
            "did you mean fluency?",
        ),
        ({"scorer": "math:pi"}, "upvotes.scorer: math:pi: is a float, expected a function"),
        ({"voters": 0}, "upvotes.voters: 0: expected at least 1, or people"),
        ({"voters": 2.5}, "upvotes.voters: 2.5: expected a whole number or 'people'"),
        ({"noise": -1}, "upvotes.noise: -1: expected a finite number of at least 0"),
        (
            {"noise": float("inf")},
            "upvotes.noise: inf: expected a finite number of at least 0",
        ),
        ({"keep": 1.5}, "upvotes.keep: 1.5: expected a share above 0 and at most 1"),
        ({"keeep": 0.5}, "upvotes.keeep: unknown setting; did you mean keep?"),
    ],
)
def test_a_bad_setting_is_an_error_by_name(options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="upvotes", options=options).build("filter")
    assert str(caught.value) == message


def test_a_scorer_that_cannot_be_imported_is_an_error_by_name():
    with pytest.raises(RecipeError, match=r"^upvotes\.scorer: no_such:f: cannot be imported"):
        Component(name="upvotes", options={"scorer": "no_such:f"}).build("filter")


def test_a_scorer_is_found_by_module_and_name(tmp_path, monkeypatch):
    (tmp_path / "my_taste.py").write_text(
        "def shouting(texts): return [t.count('!') for t in texts]"
    )
    monkeypatch.syspath_prepend(tmp_path)
    crowd = Component(
        name="upvotes", options={"scorer": "my_taste:shouting", "noise": 0, "keep": 0.5}
    ).build("filter")
    verdicts = crowd(documents({"text": ["well", "well!"]}), context())
    assert verdicts.keep.tolist() == [False, True]
    assert read_component(crowd).options["scorer"] == "my_taste:shouting"


# --- who decides a choice -------------------------------------------------------------------


def near_10(texts):
    """A taste for 10."""
    return [-abs(float(text) - 10) for text in texts]


def near_15(texts):
    """A taste for 15."""
    return [-abs(float(text) - 15) for text in texts]


TASTES = {f"{__name__}:near_10": 1.0, f"{__name__}:near_15": 1.0}
PLURAL = {"scorer": TASTES, "units": "raw", "rank": "quality", "crowd": Crowd(taste_spread=1)}


def shares_kept(choice: Choice, keep: float = 0.25, **settings) -> dict[float, float]:
    """The shares of 10, 12.5 and 15 among the kept, of a third each."""
    values = [10, 12.5, 15] * 8000
    crowd = Upvotes(**{**PLURAL, "keep": keep, "choice": choice, **settings})
    verdicts = crowd(candidates(values), context())
    kept = np.array(values)[verdicts.keep]
    assert len(kept) == round(keep * len(values))
    return {value: float((kept == value).mean()) for value in (10, 12.5, 15)}


def test_where_one_voter_decides_each_taste_has_its_share_of_the_choices():
    # In a group of four, who likes 10 chooses it where there is one, else 12.5 where there is one:
    # the compromise is chosen where all four are 12.5 or 15, but for four of 15.
    compromise = (2 / 3) ** 4 - (1 / 3) ** 4
    plural = shares_kept(Choice("bradley_terry", temperature=0.01), decided_by="voter")
    assert plural[12.5] == pytest.approx(compromise, abs=0.02)  # five standard deviations
    assert plural[10] == pytest.approx((1 - compromise) / 2, abs=0.025)
    # To the average of the two tastes, the three are equal.
    average = shares_kept(Choice("bradley_terry", temperature=0.01))
    assert average[12.5] == pytest.approx(1 / 3, abs=0.025)


def test_one_voter_of_each_pair_chooses_by_bradley_and_terry():
    # 10 against 15: one taste prefers each by 5, so they win equally often; 12.5 beats each with
    # probability (s(2.5) + s(-2.5)) / 2, which is a half again. With weights of 3 to 1:
    def wins(gap: float) -> float:
        return 0.75 / (1 + np.exp(-gap)) + 0.25 / (1 + np.exp(gap))

    settings = {"scorer": dict(zip(TASTES, (3.0, 1.0), strict=True))}
    settings["decided_by"] = "voter"
    shares = shares_kept(Choice("bradley_terry"), keep=0.5, voters=1000, **settings)
    # A third of the pairs are equal; in a ninth each, twice, two differ.
    assert shares[10] == pytest.approx(1 / 9 + 2 / 9 * (wins(2.5) + wins(5)), abs=0.02)
    assert shares[15] == pytest.approx(1 / 9 + 2 / 9 * (2 - wins(5) - wins(2.5)), abs=0.02)


def test_the_table_names_the_decider_and_bots_never_decide():
    crowd = Upvotes(
        **PLURAL,
        voters=10,
        keep=0.5,
        bots=Bots(share=0.5),
        choice=Choice("bradley_terry"),
        decided_by="voter",
    )
    given = candidates([10, 15] * 500)
    straight = crowd(given, context())
    members = set(straight.columns["decider"].tolist())
    assert len(members) == 5
    order = np.random.default_rng(1).permutation(1000)
    shuffled = crowd(candidates([10, 15] * 500, order), context())
    assert shuffled.keep.tolist() == straight.keep[order].tolist()
    votes = Upvotes(**PLURAL, voters=10, keep=0.5, bots=Bots(share=0.5))(given, context())
    assert (votes.columns["ups"] == straight.columns["ups"]).all()  # nobody votes otherwise


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choice": Choice()}, "has no effect while choice.by is top; delete it"),
        ({"crowd": Crowd()}, "has no effect while crowd.taste_spread is 0; delete it"),
        (
            {"voters": "people", "crowd": Crowd()},
            "has no effect while voters is people; delete it",
        ),
        ({"bots": Bots(1.0)}, "expected a voter who is no bot; lower bots.share"),
    ],
)
def test_a_decider_without_a_taste_of_their_own_is_an_error(settings, message):
    allowed = {**PLURAL, "choice": Choice("bradley_terry"), "decided_by": "voter"}
    Upvotes(**allowed)
    with pytest.raises(ValueError, match=re.escape(f"decided_by: voter: {message}")):
        Upvotes(**{**allowed, **settings})
