"""The metric of detection: what is compared with what, and when it cannot be computed."""

from dataclasses import replace

import numpy as np
import pytest

from textmad import testing
from textmad.detection import Models, auc, first_by_hash, human_likeness
from textmad.errors import RecipeError
from textmad.evaluators import COMPARED, METRICS, Detection
from textmad.recipe.components import Component
from textmad.testing import check_evaluator
from textmad.testing.synthetic import ToyModel, synthetic_texts
from textmad.text.documents import concatenate, documents, take
from textmad.text.passages import Passages

ALL = ("curvature", "cross_perplexity", "trained")


@pytest.fixture
def snapshot():
    return testing.checks._snapshot()  # 120 human documents, 60 of them compared


def measured(methods, snapshot):
    found = Detection(methods)(snapshot)
    assert {m.metric for m in found} <= set(METRICS)
    return {(m.split, m.bin): m for m in found}


def test_the_evaluator_keeps_the_contract():
    check_evaluator(Detection(ALL))


def test_each_method_tells_drawn_and_kept_from_as_much_human_text(snapshot):
    found = measured(ALL, snapshot)
    assert list(found) == [(s, m) for m in ALL for s in COMPARED]
    toy = ToyModel(7)
    models = Models(toy.token_moments, toy.token_nll, lambda t: [])
    human = first_by_hash(snapshot.human, 60)
    expected = auc(
        human_likeness("curvature", Passages.whole(human), models),
        human_likeness("curvature", snapshot.passages("kept"), models),
    )
    assert found["kept", "curvature"].value == expected
    assert found["kept", "curvature"].n == 120
    assert found["human", "curvature"].low < 0.5 < found["human", "curvature"].high


def test_the_human_text_is_none_that_the_model_has_learned(snapshot):
    asked = []

    class Listening(ToyModel):
        def token_moments(self, texts):
            asked.extend(texts)
            return super().token_moments(texts)

    learned = take(snapshot.human, np.arange(0, 120, 2))
    listening = replace(
        snapshot, base=Listening(7), training=concatenate([learned, snapshot.training])
    )
    measured(("curvature",), listening)
    human = set(snapshot.human["text"][:]) & set(asked)
    assert human == set(snapshot.human["text"][1::2])


def test_human_text_is_looked_at_once_a_run_and_equal_texts_once(snapshot):
    asked = []

    class Listening(ToyModel):
        def token_moments(self, texts):
            asked.append(len(texts))
            return super().token_moments(texts)

    drawn = snapshot.texts["drawn"]
    cache = {}
    base = Listening(7)
    for _ in range(2):
        same = replace(snapshot, base=base, run_cache=cache, texts={"drawn": drawn, "kept": drawn})
        found = measured(("curvature",), same)
        assert found["drawn", "curvature"].value == found["kept", "curvature"].value
    assert asked == [60, 60, 60]  # human, drawn, drawn again


def test_what_cannot_be_computed_is_nan_with_a_note(snapshot):
    class Plain:
        name = "plain"

    notes = {
        "too few kept documents": replace(snapshot, texts={"drawn": snapshot.texts["drawn"]}),
        "too little of the human training pool is new to the model": replace(
            snapshot, training=snapshot.human
        ),
        "the model plain has no token_moments": replace(snapshot, base=Plain()),
    }
    for note, changed in notes.items():
        missing = measured(("curvature",), changed)["kept", "curvature"]
        assert (missing.note, missing.n) == (note, 0)
        assert missing.value != missing.value
    plain = measured(ALL, replace(snapshot, base=Plain()))
    assert plain["drawn", "cross_perplexity"].note == "the model plain has no cross_entropy"
    assert 0 < plain["drawn", "trained"].value < 1  # asks no model


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([], "detection.methods: expected at least one"),
        (["trained", "trained"], "detection.methods: trained: is given twice; delete one"),
    ],
)
def test_bad_settings_are_errors(methods, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="detection", options={"methods": methods}).build("evaluator")
    assert str(caught.value) == message


def test_text_of_which_a_model_is_surer_than_of_human_text_is_told(snapshot):
    texts = synthetic_texts(60, "model", "drawn")
    told = {"drawn": [f"{text} indeed" for text in texts]}
    assert measured(("trained",), replace(snapshot, texts=told))["drawn", "trained"].value > 0.95
    assert documents({"text": texts})["origin"][0] == "human"
