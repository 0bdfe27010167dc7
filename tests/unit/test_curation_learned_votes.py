"""What is learned from a corpus's votes: the target by hand, the report, and the two files."""

import gzip
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from textmad.curation import Context, Upvotes, learned_votes
from textmad.curation.learned_votes import FACTS, WEIGHTS, fit, load, save
from textmad.curation.scorers import own_sources, score_candidates
from textmad.curation.vote_targets import vote_targets
from textmad.errors import CurationError, RecipeError
from textmad.recipe.components import Component
from textmad.store import file_digest
from textmad.text.documents import documents, take

WORDS = [f"word{index}" for index in range(60)]
LIKED = set(WORDS[:10])


def texts_of(num, rng, low=8, high=16):
    return [" ".join(rng.choice(WORDS, rng.integers(low, high))) for _ in range(num)]


def liked_share(text):
    return np.mean([word in LIKED for word in text.split()])


def corpus(votes, texts=None, **columns):
    rng = np.random.default_rng(0)
    texts = texts or texts_of(len(votes), rng)
    names = [f"h{index:04d}" for index in range(len(votes))]
    return documents({"text": texts, "id": names, "votes": votes, **columns})


@pytest.fixture(scope="module")
def voted():
    """500 documents whose votes follow a tenth of the words, with noise as large."""
    rng = np.random.default_rng(1)
    texts = texts_of(500, rng)
    shares = np.array([liked_share(text) for text in texts])
    votes = shares + rng.normal(0, shares.std(), 500)
    return corpus(votes.tolist(), texts)


@pytest.fixture(scope="module")
def model(voted):
    return fit(voted)


def test_votes_become_percentiles_inside_their_community():
    small, large = np.arange(30.0), 1000 * np.arange(90.0)
    found = vote_targets(corpus([*small, *large], community=["small"] * 30 + ["large"] * 90))
    by_text = dict(zip(found.texts, found.values, strict=True))
    given = corpus([*small, *large])["text"][:]
    assert [by_text[text] for text in given[:30]] == pytest.approx((np.arange(30) + 0.5) / 30)
    assert [by_text[text] for text in given[30:]] == pytest.approx((np.arange(90) + 0.5) / 90)


def test_documents_are_held_against_those_of_their_age():
    # Votes double with every year, so the last of the older hundred is the best of its age.
    votes = np.arange(200.0)
    found = vote_targets(corpus(votes, time=(1e9 + 1e6 * votes).tolist()))
    by_text = dict(zip(found.texts, found.values, strict=True))
    given = corpus(votes)["text"][:]
    assert by_text[given[99]] == pytest.approx(0.995)
    assert by_text[given[100]] == pytest.approx(0.005)
    unknown = vote_targets(corpus(votes, time=[*(1e9 + votes[1:]), None]))
    by_text = dict(zip(unknown.texts, unknown.values, strict=True))
    assert by_text[given[99]] == pytest.approx(99.5 / 200)


def test_equal_votes_share_the_middle_of_their_ranks():
    found = vote_targets(corpus([1.0] * 100 + [2.0] * 100))
    assert sorted(set(found.values)) == pytest.approx([0.25, 0.75])


def test_what_rates_whole_conversations_is_freed_of_their_length():
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 9, 60)
    names = np.repeat([f"c{index}" for index in range(60)], sizes)
    liked = rng.random(60) < 0.5
    rating = sizes + 0.1 * liked  # a long conversation is rated higher, whatever is said in it
    given = corpus(np.repeat(rating, sizes), conversation=names.tolist())
    found = vote_targets(given)
    assert found.whole_conversations
    rated = dict(zip(found.groups, found.values, strict=True))
    words = dict.fromkeys(rated, 0)
    for text, group in zip(found.texts, found.groups, strict=True):
        words[group] += len(text.split())
    before = np.corrcoef(np.repeat(rating, sizes), np.repeat(np.log(sizes), sizes))[0, 1]
    after = np.corrcoef(list(rated.values()), np.log1p([words[group] for group in rated]))[0, 1]
    assert before > 0.9
    assert abs(after) < 0.2
    assert all(np.ptp(found.values[found.groups == group]) == 0 for group in rated)


def test_votes_on_the_documents_of_a_conversation_are_left_as_they_are():
    names = [f"c{index // 4}" for index in range(200)]
    found = vote_targets(corpus(np.arange(200.0), conversation=names))
    assert not found.whole_conversations
    assert len(np.unique(found.groups)) == 50
    assert np.bincount(found.groups).tolist() == [4] * 50


def test_what_cannot_be_compared_is_left_out_and_counted():
    votes = [*np.arange(150.0), *np.arange(19.0), None]
    found = vote_targets(corpus(votes, community=["a"] * 150 + ["b"] * 19 + ["a"]))
    assert len(found.texts) == 150
    assert found.left_out == {
        "without votes": 1,
        "beyond 200,000": 0,
        "in communities of fewer than 20": 19,
    }


def test_it_learns_which_words_are_voted_up(model):
    rng = np.random.default_rng(2)
    fresh = texts_of(200, rng)
    found = np.corrcoef(model.score(fresh), [liked_share(text) for text in fresh])[0, 1]
    assert found > 0.7


def test_the_report_holds_it_against_length_on_documents_it_has_not_seen(model):
    figures = model.report["cross_validated"]
    # Half of the variance is noise, so even the truth would have a correlation of 0.7.
    assert 0.4 < figures["spearman"]["text"] < 0.75
    assert abs(figures["spearman"]["length"]) < 0.15
    assert figures["auc_quarters"]["text"] > figures["auc_median"]["text"] > 0.65
    assert model.report["warning"] == ""


def test_votes_that_no_text_explains_give_a_warning():
    rng = np.random.default_rng(3)
    warning = fit(corpus(rng.normal(size=300).tolist())).report["warning"]
    assert warning.startswith("learned_votes is not better than length alone: Spearman ")


def test_votes_for_length_alone_give_a_warning():
    texts = texts_of(300, np.random.default_rng(4), high=60)
    report = fit(corpus([float(len(text.split())) for text in texts], texts)).report
    assert report["cross_validated"]["spearman"]["length"] == pytest.approx(1)
    assert report["warning"]


def test_the_order_of_the_corpus_changes_nothing(voted, model):
    shuffled = take(voted, np.random.default_rng(5).permutation(len(voted)))
    again = fit(shuffled)
    assert again.report == model.report
    assert again.score(["word1 word30"]) == model.score(["word1 word30"])


def test_a_stored_one_gives_the_same_scores_to_the_last_bit(model, voted, tmp_path):
    save(model, tmp_path)
    stored = load(tmp_path)
    assert stored.score(voted["text"][:]) == model.score(voted["text"][:])
    assert stored.report == model.report
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save(stored, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- with an encoder ------------------------------------------------------------------------


class Marks:
    """Sees the marks that no word holds, and a little of where a text stands among others."""

    name, digest = "models/marks", "0123456789abcdef"

    def embed(self, texts):
        return [
            np.array([text.count("!"), text.count("?"), 7.0]) + 1e-9 * place
            for place, text in enumerate(texts)
        ]


@pytest.fixture(scope="module")
def shouted():
    """Half of the votes' variance follows exclamation marks, half the words."""
    rng = np.random.default_rng(8)
    texts = [text + "!" * rng.integers(4) for text in texts_of(500, rng)]
    liked = np.array([liked_share(text.rstrip("!")) for text in texts])
    marks = np.array([text.count("!") for text in texts])
    return corpus((liked / liked.std() + marks / marks.std()).tolist(), texts)


def test_an_encoder_says_what_the_words_do_not(shouted):
    report = fit(shouted, Marks()).report
    found = report["cross_validated"]["spearman"]
    # Either half of a variance has a correlation of 0.7 with the whole.
    assert found["text"] > 0.8
    assert 0.5 < found["words"] < 0.75
    assert found["words"] == fit(shouted).report["cross_validated"]["spearman"]["text"]
    assert report["encoder"] == "models/marks"


def test_with_an_encoder_too_the_order_of_texts_changes_no_bit_of_their_scores(shouted):
    model, texts = fit(shouted, Marks()), shouted["text"][:]
    scores = model.score(texts, Marks())
    assert model.score(texts[::-1], Marks())[::-1] == scores
    assert model.score([], Marks()) == []


def test_a_stored_one_opens_its_encoder_and_takes_no_other(shouted, tmp_path):
    model = fit(shouted, Marks())
    save(model, tmp_path)
    stored, texts = load(tmp_path), shouted["text"][:40]
    assert stored.score(texts, Marks()) == model.score(texts, Marks())
    opened = []

    def open_encoder(name):
        opened.append(name)
        return Marks()

    given = replace(context(documents({"text": []})), open_encoder=open_encoder)
    found = score_candidates(f"learned_votes({tmp_path})", documents({"text": texts}), given)
    assert found.tolist() == model.score(texts, Marks())
    assert opened == ["models/marks"]
    changed = Marks()
    changed.digest = "fedcba9876543210"
    for encoder, called in (
        (None, "no encoder"),
        (changed, "the encoder models/marks (SHA-256 fedcba98)"),
    ):
        with pytest.raises(CurationError) as caught:
            stored.score(texts, encoder)
        assert str(caught.value) == (
            "learned_votes: learned with the encoder models/marks (SHA-256 01234567), but asked "
            f"to score with {called}; give the same, or learn again with scripts/learn_votes.py"
        )


def damaged(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def of_other_features(folder):
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps(facts | {"features": 8}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (damaged, f"{WEIGHTS} has another SHA-256 than when it was written"),
        (of_other_features, "8 features, expected 262144"),
        (lambda folder: (folder / FACTS).write_text("{}"), "'sha256'"),
        (lambda folder: (folder / FACTS).unlink(), "No such file or directory"),
    ],
)
def test_what_is_not_as_it_was_written_is_an_error(model, tmp_path, change, why):
    save(model, tmp_path)
    change(tmp_path)
    with pytest.raises(CurationError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"learned_votes: {tmp_path}: no learned votes can be read")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            corpus([None] * 200),
            "learned_votes: none of the 200 human documents has votes: name the column that holds "
            "them in corpus.columns.votes, or use another scorer",
        ),
        (
            corpus([*np.arange(99.0), None]),
            "learned_votes: only 99 human documents in 99 conversations have votes to learn from, "
            "expected 100 in 20 at least (left out: 1 without votes); give more text, or use "
            "another scorer",
        ),
        (
            corpus(np.arange(120.0), conversation=[f"c{i // 10}" for i in range(120)]),
            "learned_votes: only 120 human documents in 12 conversations have votes to learn "
            "from, expected 100 in 20 at least (left out: none); give more text, or use another "
            "scorer",
        ),
        (
            corpus([3.0] * 120),
            "learned_votes: the votes of all 120 human documents that have any are equal within "
            "their communities, so there is nothing to learn; use another scorer",
        ),
    ],
    ids=["none", "few documents", "few conversations", "equal"],
)
def test_votes_that_teach_nothing_are_errors(given, message):
    with pytest.raises(CurationError) as caught:
        fit(given)
    assert str(caught.value) == message


# --- as a scorer ----------------------------------------------------------------------------


def context(human, records=None):
    records = {} if records is None else records
    return Context(
        1,
        np.random.default_rng(0),
        human,
        lambda g: documents({"text": []}),
        *[lambda texts: []] * 3,
        0,
        record=records.__setitem__,
    )


def test_a_crowd_votes_as_people_voted_and_the_report_goes_on_record(voted, model):
    candidates = documents({"text": texts_of(40, np.random.default_rng(6))})
    records = {}
    crowd = Upvotes({"learned_votes": 1.0, "residual(learned_votes)": 0.5}, noise=0)
    columns = crowd(candidates, context(voted, records)).columns
    assert columns["reward_learned_votes"].tolist() == model.score(candidates["text"][:])
    assert records == {"learned_votes": model.report}


def test_the_human_text_of_a_run_is_learned_once(voted):
    candidates = documents({"text": ["word1", "word50"]})
    learned_votes._fitted_once.cache_clear()
    for _ in range(3):
        score_candidates("learned_votes", candidates, context(voted))
    assert learned_votes._fitted_once.cache_info().misses == 1


def test_a_stored_one_scores_without_human_votes(model, tmp_path):
    save(model, tmp_path)
    name, records = f"learned_votes({tmp_path})", {}
    candidates = documents({"text": ["word1", "word50"]})
    found = score_candidates(name, candidates, context(documents({"text": []}), records))
    assert found.tolist() == model.score(["word1", "word50"])
    assert records == {name: model.report}
    assert own_sources(f"residual({name})") == {name: file_digest(tmp_path / FACTS)}


def test_a_folder_without_learned_votes_is_an_error_with_the_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"^upvotes\.scorer: learned_votes: .*scripts/learn_vote"):
        Component(name="upvotes", options={"scorer": f"learned_votes({tmp_path})"}).build("filter")


# --- on real votes --------------------------------------------------------------------------

POSTS = os.environ.get("TEXTMAD_REDDIT_POSTS", "")


@pytest.mark.skipif(not POSTS, reason="TEXTMAD_REDDIT_POSTS names no file of Reddit posts")
def test_reddit_votes_are_predicted_as_badly_as_by_tf_idf_and_logistic_regression():
    with gzip.open(POSTS, "rt", encoding="utf-8") as lines:
        posts = [json.loads(line) for line in lines]
    report = fit(
        documents(
            {
                "id": [post["id"] for post in posts],
                "text": [f"{post['title']}\n\n{post['text']}" for post in posts],
                "votes": [float(post["score"]) for post in posts],
                "community": [post["sub"] for post in posts],
                "time": [float(post["utc"]) for post in posts],
            }
        )
    ).report
    figures = report["cross_validated"]
    assert figures["auc_median"]["text"] == pytest.approx(0.55, abs=0.02)
    assert figures["auc_quarters"]["text"] == pytest.approx(0.59, abs=0.02)
    assert figures["auc_median"]["length"] == pytest.approx(0.5, abs=0.02)
    assert report["warning"] == ""
