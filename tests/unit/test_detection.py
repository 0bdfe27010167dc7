"""Curvature, cross-perplexity and the trained classifier, by hand and against brute force."""

from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from textmad.detection import (
    Known,
    Models,
    auc,
    cross_perplexity,
    curvature,
    first_by_hash,
    human_likeness,
    learned_log_odds,
    model_log_odds,
)
from textmad.errors import CurationError
from textmad.models.causal_lm.model import CausalLM
from textmad.models.protocol import Sample
from textmad.recipe import ModelSettings, SampleSettings, TrainSettings
from textmad.seeds import stream
from textmad.testing.synthetic import ToyModel, synthetic_texts
from textmad.text.documents import documents
from textmad.text.passages import Passages

TEXTS = ["the cat", "", "a much longer text than the others here " * 3, "é 漢字 🙂"]
NOBODY = Models(*[lambda texts: pytest.fail("no model is to be asked")] * 3)


@pytest.fixture(scope="module")
def base(tiny_gpt2_folder: Path) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(tiny_gpt2_folder)))


@pytest.fixture(scope="module")
def fitted(base: CausalLM) -> CausalLM:
    learned = documents({"text": ["the cat sat on the mat", "tea at ten"] * 4})
    train = TrainSettings(epochs=5, batch_tokens=64, learning_rate=3e-2)
    model = base.fit(learned, train, seed=0).model
    assert isinstance(model, CausalLM)
    return model


def log_shares(model: CausalLM, text: str) -> tuple[torch.Tensor, list[int]]:
    """log p of every token at every place, (time, vocabulary), of a text that fits the context."""
    [target] = model.encode([text])
    ids = torch.tensor([[model._base.start, *target[:-1]]])
    with torch.no_grad():
        logits = model._network(input_ids=ids).logits[0]
    return logits.double().log_softmax(-1), target.tolist()


# --- what models say ------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_moments_are_those_of_the_whole_softmax_at_each_token(
    base: CausalLM, rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("textmad.models.causal_lm.scoring.rows_at_a_time", lambda logits: rows)
    moments = base.token_moments(TEXTS)
    for text, nll, entropy, variance in zip(TEXTS, *moments, strict=True):
        if len(nll) > base.context:
            continue
        shares, target = log_shares(base, text)
        mean = [-sum(float(p.exp() * p) for p in place) for place in shares]
        spread = [
            sum(float(p.exp() * (-p - m) ** 2) for p in place)
            for place, m in zip(shares, mean, strict=True)
        ]
        np.testing.assert_allclose(nll, -shares[range(len(target)), target], atol=2e-5)
        np.testing.assert_allclose(entropy, mean, atol=2e-5)
        np.testing.assert_allclose(variance, spread, rtol=1e-4)


def test_a_text_beyond_the_context_has_a_moment_for_each_token(base: CausalLM):
    moments = base.token_moments(TEXTS)
    for nll, *found in zip(base.token_nll(TEXTS), *moments, strict=True):
        assert [len(each) for each in found] == [len(nll)] * 3
        np.testing.assert_allclose(found[0], nll, atol=1e-5)
    assert max(map(len, moments.nll)) > base.context


def test_cross_entropy_is_the_mean_under_one_model_of_what_the_other_would_draw(
    base: CausalLM, fitted: CausalLM
):
    for text, found in zip(TEXTS, fitted.cross_entropy(TEXTS, base), strict=True):
        if len(found) > base.context:
            continue
        (observed, _), (own, _) = log_shares(base, text), log_shares(fitted, text)
        np.testing.assert_allclose(found, -(observed.exp() * own).sum(-1), atol=2e-5)


def test_the_cross_entropy_of_a_model_with_itself_is_its_entropy(fitted: CausalLM):
    crossed, moments = fitted.cross_entropy(TEXTS, fitted), fitted.token_moments(TEXTS)
    for found, entropy in zip(crossed, moments.entropy, strict=True):
        np.testing.assert_allclose(found, entropy, rtol=1e-12)


# --- what is made of it ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def writer(trained_gpt2_folder: Path) -> CausalLM:
    """A model that has learned to write."""
    return CausalLM.open(ModelSettings(base=str(trained_gpt2_folder)))


@pytest.fixture(scope="module")
def drawn(writer: CausalLM) -> list[Sample]:
    settings = SampleSettings(max_new_tokens=60)
    return writer.sample(settings, num_tokens=6_000, stream=lambda i: stream(0, "drawn", i))


def test_drawn_tokens_are_on_average_as_likely_as_expected(writer: CausalLM, drawn: list[Sample]):
    moments = writer.token_moments([document.text for document in drawn])
    above = spread = 0.0
    for document, nll, entropy, variance in zip(drawn, *moments, strict=True):
        end = None if document.finished else -1  # its end token was not drawn
        above += (entropy - nll)[:end].sum()
        spread += variance[:end].sum()
    # What is above the expectation adds up to 0, token by token, whenever a document ends.
    assert abs(above) < 4 * np.sqrt(spread)


def test_curvature_is_higher_for_text_drawn_from_the_model_than_for_human_text(
    writer: CausalLM, drawn: list[Sample], tiny_language: ModuleType
):
    human = [str(row["text"]) for row in tiny_language.rows(40, dialect=1)]
    models = Models(writer.token_moments, writer.token_nll, lambda t: [])
    told = auc(
        human_likeness("curvature", Passages.whole(human), models),
        human_likeness("curvature", Passages.whole(d.text for d in drawn), models),
    )
    assert told > 0.75


def test_curvature_without_any_uncertainty_is_0():
    nothing = [np.zeros(3)]
    assert curvature(nothing, nothing, nothing).tolist() == [0.0]


def test_cross_perplexity_asks_the_performer_for_the_loss_and_both_for_the_rest():
    performer, observer = ToyModel(3), ToyModel(7)
    models = Models(
        observer.token_moments,
        performer.token_nll,
        lambda texts: performer.cross_entropy(texts, observer),
    )
    (nll,) = performer.token_nll(["lan bem tor"])
    (crossed,) = performer.cross_entropy(["lan bem tor"], observer)
    found = human_likeness("cross_perplexity", Passages.whole(["lan bem tor"]), models)
    assert found.tolist() == cross_perplexity([nll], [crossed]).tolist()
    assert found[0] == pytest.approx(nll.sum() / crossed.sum())


@pytest.mark.parametrize("method", ["curvature", "cross_perplexity", "trained"])
def test_a_text_has_the_same_value_in_any_order_and_beside_its_copies(method):
    toy = ToyModel(3)
    models = Models(toy.token_moments, toy.token_nll, lambda t: toy.cross_entropy(t, ToyModel(7)))
    texts = synthetic_texts(30, "model")
    known = Known(synthetic_texts(40, "human"), synthetic_texts(40, "model"))
    forward = human_likeness(method, Passages.whole(texts), models, known)
    turned = Known(known.human[::-1], known.model[::-1])
    backward = human_likeness(method, Passages.whole([*texts[::-1], texts[0]]), models, turned)
    assert backward.tolist() == [*forward[::-1], forward[0]]


def test_the_classifier_tells_words_that_only_models_write():
    model = [f"{text} indeed" for text in synthetic_texts(100, "model")]
    human = synthetic_texts(100, "human")
    found = human_likeness("trained", Passages.whole([*human, *model]), NOBODY, Known(human, model))
    assert auc(found[:100], found[100:]) > 0.95


def test_the_classifier_has_not_learned_the_texts_that_it_judges():
    # Human and model text are from one language: a classifier that had seen them would know them.
    human, model = synthetic_texts(200, "human"), synthetic_texts(200, "model")
    found = learned_log_odds([*human, *model], Known(human, model))
    assert abs(auc(found[:200], found[200:]) - 0.5) < 0.12  # 4 standard errors of 0.029


def test_a_classifier_with_one_origin_only_is_an_error():
    message = "method: trained: 3 human and 0 model texts are known, too few to learn from; "
    with pytest.raises(CurationError, match=message):
        learned_log_odds(["a"], Known(["b", "c", "d"], []))


def test_log_odds_are_calibrated():
    # Two normal distributions 1 apart, of spread 1: the log odds are linear, 1/2 - x.
    rng = np.random.default_rng(0)
    human, model = rng.normal(1, 1, 20_000), rng.normal(0, 1, 20_000)
    found = model_log_odds(np.array([-1.0, 0.5, 2.0]), human, model)
    np.testing.assert_allclose(found, [1.5, 0.0, -1.5], atol=0.08)


def test_log_odds_do_not_depend_on_how_many_of_each_origin_are_known():
    rng = np.random.default_rng(0)
    human, model = rng.normal(1, 1, 20_000), rng.normal(0, 1, 2_000)
    assert model_log_odds(np.array([0.5]), human, model)[0] == pytest.approx(0, abs=0.12)


def test_log_odds_where_all_values_are_equal_are_even():
    assert model_log_odds(np.ones(2), np.ones(5), np.ones(5)).tolist() == pytest.approx([0, 0])


def test_the_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    human, model = rng.integers(0, 9, 40).astype(float), rng.integers(0, 7, 30).astype(float)
    pairs = [(h > m) + (h == m) / 2 for h, m in product(human, model)]
    assert auc(human, model) == pytest.approx(np.mean(pairs))
    origins = np.repeat([True, False], [40, 30])
    assert auc(human, model) == pytest.approx(
        roc_auc_score(origins, np.concatenate([human, model]))
    )


def test_the_first_documents_by_hash_are_the_same_in_any_order_and_grow_with_the_number():
    texts = synthetic_texts(30, "human")
    few, more = (
        first_by_hash(documents({"text": texts}), 5),
        first_by_hash(documents({"text": texts[::-1]}), 8),
    )
    assert more[:5] == few
    corpus = documents({"text": texts})
    gone = frozenset(row["id"] for row in corpus if row["text"] in more[:2])
    assert first_by_hash(corpus, 5, gone) == more[2:7]
    assert len(first_by_hash(corpus, 100)) == 30
