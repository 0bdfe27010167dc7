"""The contract checks pass what keeps the contract and catch, with the reason, what does not."""

import random
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest

from textmad.curation import (
    Author,
    Bots,
    Choice,
    Crowd,
    Detector,
    Discriminator,
    Duplicates,
    Exposure,
    Length,
    MatchedRandom,
    Random,
    Repetition,
    Rescue,
    Upvotes,
    Verdicts,
    Watermark,
)
from textmad.errors import CurationError, EvaluationError
from textmad.evaluators.protocol import Measurement
from textmad.testing import check_evaluator, check_filter
from textmad.text.documents import documents, write_parquet


def lengths(candidates):
    return np.array([len(text) for text in candidates["text"][:]], dtype=float)


def verdicts(score):
    return Verdicts(score > np.median(score) if len(score) else np.zeros(0, bool), score, "short")


@dataclass(frozen=True)
class VariedWords:
    threshold: float = 0.5

    def __call__(self, candidates, context):
        words = [text.split() for text in candidates["text"]]
        score = np.array([len(set(w)) / max(len(w), 1) for w in words])
        return Verdicts(keep=score >= self.threshold, score=score, reason="repeats words")


@pytest.mark.parametrize(
    "judge",
    [
        Random(),
        Length(),
        Repetition(),
        Duplicates(),
        Duplicates(threshold=None),
        Upvotes(),
        Upvotes(scorer="variety", noise=0),
        Upvotes(scorer="residual(surprise)", rank="wilson", units="raw"),
        Upvotes(
            scorer={"fluency": 0.6, "toxicity": -0.4},
            crowd=Crowd(taste_spread=0.5, abstain=0.3, care_spread=0.5, herding=0.3),
            bots=Bots(share=0.2, pattern="a"),
            exposure=Exposure("rank", attention=0.5),
            rank="hot",
            choice=Choice("softmax", temperature=0.1),
        ),
        Upvotes(rank="share", choice=Choice("threshold", threshold=0.4)),
        Upvotes(rank="likes", choice=Choice("bradley_terry")),
        Upvotes(scorer="residual(learned_votes)"),
        Discriminator(budget=40, check=20),
        Discriminator(votes=Upvotes(keep=0.5), budget=30, learn_from="latest", backend="lora"),
        Author(),
        Author(3, "variety", noise=0, units="raw"),
        Detector(),
        Detector("cross_perplexity", use="resample", exponent=2.0),
        Detector("trained"),
        Detector("trained", use="resample"),
        Rescue(),
        Rescue("weight", 0.3),
        MatchedRandom(Upvotes()),
        MatchedRandom(Author()),
        MatchedRandom(Discriminator(budget=40, check=20)),
        MatchedRandom(Rescue()),
        MatchedRandom(Length(20, 30)),
        Watermark(key=5, false_alarms=0.3),
        Watermark(key=5, kind="synthid", depth=3, context=1, false_alarms=0.3),
        VariedWords(0.6),
    ],
    ids=repr,
)
def test_filters_that_keep_the_contract_pass(judge):
    check_filter(judge)


def test_a_filter_that_learns_from_human_and_earlier_text_passes():
    def judge(candidates, context):
        known = {word for text in context.human["text"][:] for word in text.split()}
        for generation in range(context.generation):
            earlier = context.earlier(generation)
            assert set(earlier["kept"][:]) == {True, False}
        return verdicts(
            np.array([sum(w in known for w in t.split()) for t in candidates["text"][:]], float)
        )

    check_filter(judge)


def sorting(candidates, context):
    return verdicts(np.sort(lengths(candidates)))


def backwards(candidates, context):
    return verdicts(lengths(candidates)[::-1])


def sorting_the_candidates(candidates, context):
    return verdicts(lengths(candidates.sort("text")))


def by_place(candidates, context):
    return verdicts(np.arange(len(candidates), dtype=float))


def from_a_fixed_seed(candidates, context):
    return verdicts(np.random.default_rng(0).random(len(candidates)))


def dropping(candidates, context):
    return verdicts(lengths(candidates)[1:])


def giving_nan(candidates, context):
    return Verdicts(lengths(candidates) > 0, lengths(candidates) * np.nan)


def standardising(candidates, context):
    score = lengths(candidates)
    if len(score):
        with np.errstate(invalid="ignore"):
            score = (score - score.mean()) / score.std()
    return verdicts(score)


def crashing_on_no_words(candidates, context):
    return verdicts(np.array([len(text.split()[0]) for text in candidates["text"][:]], float))


def changing_the_format(candidates, context):
    candidates.set_format("numpy")
    return verdicts(lengths(candidates))


def changing_the_rows(candidates, context):
    answer = verdicts(lengths(candidates))
    candidates._data = candidates._data.slice(0, 1)
    return answer


def changing_the_human_text(candidates, context):
    context.human.set_format("numpy")
    return verdicts(lengths(candidates))


def drawing_from_numpy(candidates, context):
    np.random.rand()
    return verdicts(lengths(candidates))


def drawing_from_python(candidates, context):
    random.random()
    return verdicts(lengths(candidates))


def drawing_afresh(candidates, context):
    return verdicts(np.random.default_rng().random(len(candidates)))


def asking_for_held_out(candidates, context):
    getattr(context, "held_out", None)
    return verdicts(lengths(candidates))


def demanding_held_out(candidates, context):
    return verdicts(lengths(context.held_out))


def needing_an_earlier_generation(candidates, context):
    context.earlier(context.generation - 1)
    return verdicts(lengths(candidates))


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (sorting, "verdicts do not follow the documents"),
        (backwards, "verdicts do not follow the documents"),
        (sorting_the_candidates, "verdicts do not follow the documents"),
        (by_place, "verdicts do not follow the documents"),
        (from_a_fixed_seed, "draws from a fixed seed"),
        (dropping, "keep has 119 values for 120 candidates"),
        (giving_nan, "is nan, expected a finite number"),
        (standardising, "is nan, expected a finite number"),
        (crashing_on_no_words, "raised IndexError"),
        (changing_the_format, "changes the candidates it is given"),
        (changing_the_rows, "changes the candidates it is given"),
        (changing_the_human_text, "changes the human it is given"),
        (drawing_from_numpy, "draws random numbers from numpy.random; draw them from context.rng"),
        (drawing_from_python, "draws random numbers from random; draw them from context.rng"),
        (drawing_afresh, "two calls under the same random stream gave different verdicts"),
        (asking_for_held_out, "reads held-out text: asks the context for held_out"),
        (demanding_held_out, "reads held-out text: asks the context for held_out"),
        (needing_an_earlier_generation, "generation -1 is not earlier than 0"),
    ],
)
def test_a_filter_that_breaks_the_contract_fails_with_the_reason(judge, reason):
    with pytest.raises(CurationError) as caught:
        check_filter(judge)
    assert reason in str(caught.value)
    assert judge.__name__ in str(caught.value)


@pytest.mark.parametrize(
    "read", [lambda path: pq.read_table(path), lambda path: path.read_bytes(), open]
)
def test_a_filter_that_opens_the_held_out_file_fails(read, tmp_path):
    path = tmp_path / "held_out.parquet"
    write_parquet(documents({"text": ["secret"]}), path)

    def judge(candidates, context):
        opened = read(path)
        if hasattr(opened, "close"):
            opened.close()
        return verdicts(lengths(candidates))

    with pytest.raises(CurationError, match=r"reads held-out text: opens held_out\.parquet"):
        check_filter(judge)


def test_a_filter_is_checked_on_documents_of_its_users_own():
    def judge(candidates, context):
        return verdicts(np.array([float(votes or 0) for votes in candidates["votes"][:]]))

    check_filter(judge, documents({"text": ["a b", "c d", "e f"], "votes": [1.0, 2.0, 3.0]}))


# --- evaluators -----------------------------------------------------------------------------


def test_evaluators_that_keep_the_contract_pass():
    check_evaluator(lambda snapshot: {"documents": len(snapshot.training)})
    check_evaluator(
        lambda snapshot: [
            Measurement(
                "loss", float(np.concatenate(snapshot.model.token_nll(texts)).mean()), split
            )
            for split, texts in snapshot.texts.items()
        ]
    )
    check_evaluator(lambda snapshot: {"draw": snapshot.rng.random()})


@pytest.mark.parametrize(
    ("evaluator", "reason"),
    [
        (lambda snapshot: {"x": "many"}, "expected a number"),
        (lambda snapshot: 1.0, "returned float"),
        (lambda snapshot: {"x": len(snapshot.texts["kept"])}, "raised KeyError: 'kept'"),
        (lambda snapshot: {"x": np.random.default_rng().random()}, "gave different numbers"),
        (lambda snapshot: {"x": np.random.rand()}, "draws random numbers from numpy.random"),
        (
            lambda snapshot: snapshot.held_out.set_format("numpy") or {"x": 1.0},
            "changes the held_out it is given",
        ),
        (
            lambda snapshot: {"x": len([t.clear() for t in snapshot.texts.values()])},
            "changes the texts it is given",
        ),
    ],
)
def test_an_evaluator_that_breaks_the_contract_fails_with_the_reason(evaluator, reason):
    with pytest.raises(EvaluationError) as caught:
        check_evaluator(evaluator)
    assert reason in str(caught.value)
