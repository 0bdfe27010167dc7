"""How far learning moved a model, and the warning where that is too little."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from textmad import testing
from textmad.evaluators import Adapter, measure
from textmad.evaluators.held_out import held_out_subset
from textmad.models.causal_lm.model import CausalLM
from textmad.models.protocol import TokenScores, WeightChange
from textmad.recipe import LoraSettings, ModelSettings, TrainSettings
from textmad.testing import check_evaluator
from textmad.testing.synthetic import ToyModel
from textmad.text.documents import documents

CORPUS = documents({"text": ["the cat sat", "tea at ten"] * 4})
TRAIN = TrainSettings(epochs=3, batch_tokens=32, learning_rate=1e-2)


class Shifted(ToyModel):
    """Every token in turn costs `up` nats more than the base model gives it, or `down` less."""

    up, down = 0.04, 0.02

    def token_scores(self, texts, prompts=None):
        nll = ToyModel(7).token_nll(texts)
        moved = [
            losses + np.where(np.arange(len(losses)) % 2 == 0, self.up, -self.down)
            for losses in nll
        ]
        return TokenScores(moved, [losses < 2 for losses in moved])

    def weight_changes(self):
        return [WeightChange("a", 3.0, 30.0, 5), WeightChange("b", 4.0, 40.0, 7)]


@pytest.fixture(scope="module")
def whole():
    return testing.checks._snapshot()


@pytest.fixture
def snapshot(whole):
    return replace(whole, model=Shifted(7), run_cache={})


def measured(evaluator, snapshot):
    return {(m.metric, m.bin): m for m in measure("adapter", evaluator, snapshot)}


def test_the_evaluator_keeps_the_contract():
    check_evaluator(Adapter())


def test_the_whole_norm_is_that_of_all_updates_by_that_of_all_weights(snapshot):
    found = measured(Adapter(), snapshot)
    assert found["adapter_norm", "a"].value == pytest.approx(0.1)
    # sqrt(9 + 16) / sqrt(900 + 1600)
    assert found["adapter_norm", ""].value == pytest.approx(5 / 50)
    assert found["adapter_norm", ""].n == 12


def test_the_loss_moves_less_than_the_single_predictions_do(snapshot):
    found = measured(Adapter(), snapshot)
    texts = held_out_subset(snapshot.held_out, 30_000)["text"][:]
    lengths = [len(ids) for ids in snapshot.base.encode(texts)]
    up = sum(math.ceil(length / 2) for length in lengths)
    down = sum(lengths) - up
    assert found["held_out_loss_moved", ""].value == pytest.approx(
        (0.02 * down - 0.04 * up) / (up + down)
    )
    moved = found["prediction_moved", ""]
    assert moved.value == pytest.approx((0.02 * down + 0.04 * up) / (up + down))
    assert moved.n == up + down


def test_a_model_that_hardly_moved_is_warned_of_once_a_run(snapshot, caplog):
    with caplog.at_level(logging.WARNING):
        first, second = (
            measured(Adapter(), replace(snapshot, generation=generation)) for generation in (1, 2)
        )
    (record,) = caplog.records
    note = first["prediction_moved", ""].note
    assert record.message == f"generation 1: {note}"
    assert note.startswith("the model is 0.03 nats a token from the base model, less than 0.05 ")
    assert "held-out perplexity is within 3.1 % of the base model's" in note  # exp(0.0303) - 1
    assert second["prediction_moved", ""].note == note


def test_nobody_is_warned_of_a_model_that_moved_or_has_learned_human_text_alone(snapshot, caplog):
    for evaluator, generation in ((Adapter(least_move=0.03), 1), (Adapter(), 0)):
        found = measured(evaluator, replace(snapshot, generation=generation))
        assert found["prediction_moved", ""].note == ""
    assert caplog.records == []


def test_first_and_last_training_loss_are_means_of_a_tenth_of_the_steps(snapshot):
    # 20 steps, so two at each end; the second of the last has three times the tokens.
    curve = [{"tokens": 100 * (i + 1), "loss": 5.0} for i in range(18)]
    curve += [{"tokens": 1900, "loss": 3.0}, {"tokens": 2200, "loss": 2.0}]
    found = measured(Adapter(), replace(snapshot, curve=curve))
    assert found["training_loss", "first"].value == 5.0
    assert found["training_loss", "last"].value == pytest.approx((3.0 + 3 * 2.0) / 4)
    assert found["training_loss_moved", ""].value == pytest.approx(5.0 - 2.25)
    assert found["training_loss", "last"].n == 400


def test_what_cannot_be_computed_is_nan_with_a_note(snapshot):
    class Plain(ToyModel):
        weight_changes = property()  # hasattr says no

    found = measured(Adapter(), replace(snapshot, model=Plain(3), curve=()))
    assert found["adapter_norm", ""].note == "the model toy has no weight_changes"
    assert found["training_loss_moved", ""].note == "0 training steps: expected at least two"
    assert math.isfinite(found["prediction_moved", ""].value)


# --- the models -----------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [LoraSettings(rank=4, alpha=8.0, targets=("c_fc",)), None])
def test_the_changes_of_a_model_are_its_merged_weights_less_the_base(adapter, tiny_gpt2_folder):
    base = CausalLM.open(ModelSettings(base=str(tiny_gpt2_folder), lora=adapter))
    assert base.weight_changes() == []
    fitted = base.fit(CORPUS, TRAIN, seed=1).model
    changes = {change.name: change for change in fitted.weight_changes()}
    before = dict(base._base.network.named_parameters())
    if adapter is None:
        assert changes.keys() == before.keys()
        name = "transformer.h.0.mlp.c_fc.weight"
        update = dict(fitted._network.named_parameters())[name] - before[name]
    else:
        assert changes.keys() == {f"transformer.h.{i}.mlp.c_fc.weight" for i in (0, 1)}
        name = "transformer.h.0.mlp.c_fc.weight"
        a, b = (
            fitted._weights.adapter[f"base_model.model.{name[:-7]}.lora_{x}.weight"] for x in "AB"
        )
        update = (8.0 / 4) * (b @ a)
    assert changes[name].update == pytest.approx(float(torch.linalg.norm(update)), rel=1e-4)
    assert changes[name].base == pytest.approx(float(torch.linalg.norm(before[name])), rel=1e-6)
    assert changes[name].num == 32 * 128


def test_below_float32_only_what_was_learned_counts_as_changed(tiny_gpt2_folder):
    settings = ModelSettings(
        base=str(tiny_gpt2_folder), dtype="bfloat16", lora=LoraSettings(targets=("c_fc",))
    )
    fitted = CausalLM.open(settings).fit(CORPUS, TRAIN, seed=1).model
    assert len(fitted.weight_changes()) == 2
