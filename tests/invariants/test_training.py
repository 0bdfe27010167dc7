"""What must make no difference to training: how a step is cut into batches, and their padding."""

from pathlib import Path

import numpy as np
import pytest

from textmad.documents import documents
from textmad.models import training
from textmad.models.causal_lm import CausalLM
from textmad.recipe import LoraSettings, ModelSettings, TrainSettings

# About 20 steps; a faster or longer trajectory would amplify mere rounding.
TRAIN = TrainSettings(epochs=1, batch_tokens=220, learning_rate=1e-5)


@pytest.fixture(
    scope="module", params=[LoraSettings(rank=8, alpha=64.0), None], ids=["lora", "full"]
)
def model(request: pytest.FixtureRequest, trained_gpt2_folder: Path) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(trained_gpt2_folder), lora=request.param))


@pytest.fixture(scope="module")
def corpus(tiny_language):
    """Whole documents and first words: lengths from 2 to 60 tokens."""
    texts = [str(row["text"]) for row in tiny_language.rows(40, dialect=1)]
    short = [text if i % 2 else " ".join(text.split()[: 1 + i % 7]) for i, text in enumerate(texts)]
    return documents({"text": short})


def losses(model: CausalLM, corpus, train: TrainSettings = TRAIN) -> np.ndarray:
    return np.array([row["loss"] for row in model.fit(corpus, train, seed=0).curve])


def test_eight_documents_at_once_train_as_eight_times_one(model, corpus):
    def sizes(micro_batch_tokens: int) -> list[int]:
        step = training.plan_steps(model._examples(corpus), TRAIN, seed=0)[0]
        lengths = [len(model._examples(corpus)[index].input_ids) for index in step]
        plan = training.micro_batches(lengths, micro_batch_tokens, 1)
        return [len(batch[0]) for batch in plan]

    assert set(sizes(1)) == {1} != set(sizes(100_000))
    together = losses(model, corpus, TRAIN.model_copy(update={"micro_batch_tokens": 100_000}))
    one_by_one = losses(model, corpus, TRAIN.model_copy(update={"micro_batch_tokens": 1}))
    assert 15 <= len(together) <= 25
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-5)


def test_padding_changes_no_trajectory(model, corpus, monkeypatch):
    collate, padding = training.collate, []

    def counted(examples):
        input_ids, labels = collate(examples)
        padding.append(int(input_ids.numel()) - sum(len(e.input_ids) for e in examples))
        return input_ids, labels

    monkeypatch.setattr(training, "collate", counted)
    trajectories, padded = [], []
    for share in (0.0, 0.99):
        monkeypatch.setattr(training, "_MAX_PADDING", share)
        padding.clear()
        trajectories.append(losses(model, corpus))
        padded.append(sum(padding))
    assert padded[0] == 0
    assert padded[1] > 1000
    np.testing.assert_allclose(*trajectories, rtol=0, atol=1e-5)


def test_the_trajectories_compared_here_do_learn(model, corpus):
    """At so small a rate the losses might be equal because nothing is learned."""
    still = losses(model, corpus, TRAIN.model_copy(update={"learning_rate": 1e-12}))
    assert np.abs(losses(model, corpus) - still).max() > 1e-4
