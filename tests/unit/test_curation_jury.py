"""The filter jury: a crowd that decides nothing, and what it says of model and human text."""

from dataclasses import replace

import numpy as np
import pytest

import textmad as tm
from textmad.curation import Context, Discriminator, Jury, Upvotes, apply_filters
from textmad.curation.against_human import human_to_beat, human_to_learn, shares_below
from textmad.errors import CurationError, RecipeError
from textmad.recipe.components import read_component
from textmad.text.documents import documents
from textmad.text.passages import Passages

HUMAN = documents({"text": [f"{'good ' * (index % 5)}human {index}" for index in range(60)]})


def goodness(texts):
    """A scorer: how often a text is good."""
    return [float(text.split().count("good")) for text in texts]


EXACT = Upvotes(scorer=goodness, voters=5, noise=0.0, rank="quality")


def candidates(num=40, good=2):
    return documents(
        {
            "id": [f"g1-{index}" for index in range(num)],
            "text": [f"{'good ' * good}model {index}" for index in range(num)],
            "origin": ["model"] * num,
        }
    )


def context(seed=0, **changes):
    no = [lambda texts: []] * 2
    given = Context(1, np.random.default_rng(seed), HUMAN, lambda g: documents({"text": []}), *no)
    return replace(given, **changes)


def test_the_shipped_jury_keeps_the_contract_of_filters():
    tm.testing.check_filter(Jury(documents=20))


@pytest.mark.parametrize("good", [0, 2, 7])
def test_the_column_is_the_share_of_human_text_that_a_candidate_is_above(good):
    verdicts = Jury("taste", EXACT, documents=30)(candidates(good=good), context())
    assert verdicts.keep.all()
    beats = verdicts.columns["beats_human_taste"]
    asked = beats != None  # noqa: E711
    assert asked.sum() == 30
    # The 30 human documents of the lowest ids, which are hashes of their texts.
    rows = np.argsort(np.array(HUMAN["id"][:]))[:30]
    human = np.array([int(HUMAN["text"][int(row)].split().count("good")) for row in rows])
    expected = ((human < good).sum() + 0.5 * (human == good).sum()) / 30
    assert beats[asked].astype(float) == pytest.approx(expected)


def test_the_same_human_text_is_compared_in_every_generation_and_it_is_cut_as_samples_are():
    cut = {}

    def as_sampled(texts):
        cut.setdefault(len(cut), list(texts))
        some = [text for text in texts if not text.endswith("7")]  # too short for a prompt
        return Passages.whole(some)

    for seed in (0, 1):
        judge = Jury(votes=EXACT, documents=10)
        judge(candidates(), context(seed, as_sampled=as_sampled))
    assert cut[0] == cut[len(cut) // 2]
    assert len(human_to_beat(context(as_sampled=as_sampled), 10, "documents")) == 10


def test_a_shortage_of_human_text_is_an_error():
    with pytest.raises(CurationError) as caught:
        apply_filters(candidates(), [("jury", Jury(documents=61))], lambda *_: context())
    assert str(caught.value) == (
        "filter jury, generation 1: documents: 61: the human training pool has only 60 documents "
        "to compare with; lower it, or give a larger corpus"
    )
    with pytest.raises(CurationError, match="asks for 51 human documents"):
        human_to_learn(context(), 51, 10, np.random.default_rng(0), "against_human")


def test_what_is_learned_is_none_of_what_is_to_beat():
    beaten = set(human_to_beat(context(), 20, "human_check").texts)
    learned = human_to_learn(context(), 40, 20, np.random.default_rng(0), "against_human")
    assert len(set(learned)) == 40
    assert not beaten & set(learned)


def test_shares_of_equal_values_count_half():
    assert shares_below(np.array([1.0, 5.0]), np.array([1.0, 1.0, 2.0, 9.0])).tolist() == [
        0.25,
        0.75,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Other taste"}, "jury.name: Other taste: expected lower-case letters, digits"),
        ({"documents": 1}, "jury.documents: 1: expected at least 2"),
        (
            {"votes": {"voters": "people"}},
            "jury.votes.voters: people: a jury is simulated; give a number of voters",
        ),
        (
            {"votes": {"keep": 0.5}},
            "jury.votes.keep: has no effect: a jury decides nothing; delete it",
        ),
        (
            {"votes": {"choice": {"by": "softmax"}}},
            "jury.votes.choice: has no effect: a jury decides nothing; delete it",
        ),
    ],
)
def test_a_setting_that_is_bad_or_without_effect_is_an_error(options, message):
    with pytest.raises(RecipeError) as caught:
        read_component({"jury": options}).build("filter")
    assert str(caught.value).startswith(message)


# --- the discriminator against human text ---------------------------------------------------

WORDS = [f"word{index}" for index in range(40)]


def spoken(num, seed, own):
    """Texts of 12 words, of which `own` occurs in every one."""
    rng = np.random.default_rng(seed)
    return [" ".join([own, *rng.choice(WORDS, 11)]) for _ in range(num)]


def gan(**settings):
    human = documents({"text": spoken(400, 0, "tea")})
    written = documents(
        {
            "id": [f"g1-{index}" for index in range(300)],
            "text": spoken(150, 1, "tea") + spoken(150, 2, "machine"),
            "origin": ["model"] * 300,
        }
    )
    by_chance = Upvotes(scorer=goodness, voters=1, noise=1e9, keep=0.5)
    judge = Discriminator(votes=by_chance, budget=20, check=10, **settings)
    verdicts = judge(written, context(human=human))
    return verdicts


def test_against_human_text_what_reads_as_human_is_accepted_whatever_the_crowd_says():
    verdicts = gan(against_human=0.8, human_check=50)
    surely = verdicts.columns["accept_probability"]
    assert surely[:150].mean() > surely[150:].mean() + 0.1
    # 20 votes are a fifth of the training examples: 40 human and 40 of the model beside them.
    assert set(verdicts.columns["lessons"]) == {100}
    beats = verdicts.columns["beats_human_discriminator"]
    assert abs(beats[:150].mean() - 0.5) < 0.15 < 0.5 - beats[150:].mean()


def test_without_it_nothing_changes():
    plain = gan()
    assert "beats_human_discriminator" not in plain.columns
    checked = gan(human_check=50)
    assert np.array_equal(plain.keep, checked.keep)
    assert np.array_equal(plain.score, checked.score)


def test_too_few_candidates_that_nobody_voted_on_are_an_error():
    with pytest.raises(CurationError) as caught:
        gan(against_human=0.97)
    assert str(caught.value) == (
        "against_human: 0.97: asks for 323 candidates that the crowd has not voted on, and there "
        "are 270: lower it, budget or check, or raise sample.oversample"
    )
