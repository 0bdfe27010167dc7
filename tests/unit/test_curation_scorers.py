"""Scorers: values by hand, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest

from textmad.curation import Context
from textmad.curation.score_mixture import check_scorer, own_scorer_sources, score_quality
from textmad.curation.scorers import BUILT_IN, length_regressed_out, own_sources, score_candidates
from textmad.errors import CurationError
from textmad.store import file_digest
from textmad.text.documents import documents

NLL = {"tea": np.array([2.0, 4.0]), "stupid tea": np.array([1.0])}


def context():
    nothing = documents({"text": []})
    return Context(
        generation=0,
        rng=np.random.default_rng(0),
        human=nothing,
        earlier=lambda g: nothing,
        token_nll=lambda texts: [],
        base_token_nll=lambda texts: [NLL[text] for text in texts],
        encode=lambda texts: [],
        vocabulary_size=1,
    )


def values(scorer, texts):
    return score_candidates(scorer, documents({"text": texts}), context()).tolist()


def test_surprise_is_fluency_reversed():
    assert values("fluency", ["tea", "stupid tea"]) == [-3.0, -1.0]
    assert values("surprise", ["tea", "stupid tea"]) == [3.0, 1.0]


def test_fluency_reads_the_prompt_and_leaves_out_an_end_that_was_never_written():
    asked = []

    def score(texts, prompts=None):
        asked.append((list(texts), prompts))
        return [np.array([2.0, 4.0, 9.0])] * len(texts)  # the end token last

    candidates = documents(
        {"text": [" tea", " tea"], "prompt": ["stupid", ""], "finished": [True, False]}
    )
    found = score_candidates(
        "residual(fluency)", candidates, replace(context(), base_token_nll=score)
    )
    assert asked == [([" tea", " tea"], ("stupid", ""))]
    assert found[1] - found[0] == pytest.approx(-3.0 + 5.0)  # texts of one length: nothing taken


def test_toxicity_is_the_share_of_listed_words_whatever_their_case_and_marks():
    assert values("toxicity", ["tea", "STUPID tea!", "you idiot, you fool", ""]) == [0, 0.5, 0.5, 0]


def test_words_of_a_file_are_counted_instead(tmp_path):
    path = tmp_path / "markers.txt"
    path.write_text("# what is asked about\nTea\nmilk  # with it\n\n", encoding="utf-8")
    assert values(f"words({path})", ["tea or milk", "stupid"]) == [pytest.approx(2 / 3), 0]
    assert own_sources(f"words({path})") == {f"words({path})": file_digest(path)}


def test_words_in_the_recipe_itself_need_no_file():
    assert values("words(Tea, milk)", ["tea or milk", "stupid"]) == [pytest.approx(2 / 3), 0]
    assert own_sources("words(Tea, milk)") == {}
    with pytest.raises(ValueError, match="holds no words"):
        check_scorer("words( , )")


def test_a_length_is_preferred_the_more_the_nearer_a_text_comes_to_it():
    assert values("length(2)", ["tea", "tea milk", "tea or milk or", ""]) == [-1, 0, -2, -2]
    assert values("length(2.5)", ["tea milk"]) == [-0.5]
    assert own_sources("length(2)") == {}


@pytest.mark.parametrize("words", ["0", "ten", "inf", "nan", "-3"])
def test_a_length_that_no_text_has_is_an_error(words):
    message = f"scorer: length({words}): expected a number of words of at least 1, as in length(10)"
    with pytest.raises(ValueError, match=re.escape(message)):
        check_scorer(f"length({words})")


def test_a_residual_is_what_length_does_not_explain():
    texts = ["a", "b", "a b c", "b c d"]
    # Two of each length: their mean is what length explains, and half the difference is left.
    assert length_regressed_out([1, 3, 10, 20], texts) == pytest.approx([-1, 1, -5, 5])
    longer = [float(len(text.split())) for text in texts]
    assert length_regressed_out(longer, texts) == pytest.approx([0] * 4)


def test_a_residual_is_uncorrelated_with_log_length():
    rng = np.random.default_rng(0)
    texts = ["x " * n for n in rng.integers(1, 40, 500)]
    length = np.log1p([len(text.split()) for text in texts])
    left = length_regressed_out((3 * length + rng.normal(size=500)).tolist(), texts)
    assert np.corrcoef(left, length)[0, 1] == pytest.approx(0, abs=1e-9)
    assert left.std() == pytest.approx(1, abs=0.1)


def test_a_residual_takes_any_scorer():
    plain = np.array(values("fluency", ["tea", "stupid tea"]))
    assert plain.tolist() == [-3, -1]
    # Two lengths, two values: length explains all.
    assert values("residual(fluency)", ["tea", "stupid tea"]) == pytest.approx([0, 0])
    assert own_sources("residual(textmad.text.near_duplicates:shingles)").keys() == {
        "textmad.text.near_duplicates:shingles"
    }
    assert own_scorer_sources({"residual(fluency)": 1.0, "toxicity": -1.0}) == {}


@pytest.mark.parametrize("scorer", [*BUILT_IN, "residual(variety)"])
def test_no_documents_have_no_scores(scorer):
    assert values(scorer, []) == []
    assert score_quality(scorer, "standard", documents({"text": []}), context()).quality.shape == (
        0,
    )


KINDS = (
    "built in are fluency, learned_votes, surprise, toxicity, variety, residual(SCORER), "
    "words(LIST), length(WORDS) and learned_votes(FOLDER); your own is module:name"
)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (
            "residual(fluent)",
            f"scorer: fluent: unknown scorer; {KINDS}; did you mean fluency?",
        ),
        ("words(none.txt)", "scorer: words(none.txt): cannot be read: No such file or directory"),
        (
            {"fluency": 1.0, "varied": 1.0},
            f"scorer: varied: unknown scorer; {KINDS}; did you mean variety?",
        ),
        ({"fluency": float("nan")}, "scorer: {'fluency': nan}: expected finite weights"),
    ],
)
def test_a_scorer_that_cannot_be_is_an_error(scorer, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_scorer(scorer)
    assert str(caught.value).startswith(message)


def test_a_list_without_words_is_an_error(tmp_path):
    path = tmp_path / "empty.txt"
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="holds no words: expected one a line"):
        check_scorer(f"words({path})")


def too_few(texts):
    return [1.0] * (len(texts) - 1)


def test_a_bad_scorer_inside_a_residual_is_named():
    with pytest.raises(CurationError, match="too_few gave 1 values for 2 texts, expected 1 each"):
        values(f"residual({__name__}:too_few)", ["tea", "stupid tea"])
