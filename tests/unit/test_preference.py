"""Preference learning: the losses beside trl's, the steps, and what a tiny model learns."""

import importlib.util
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from tests import trl_losses
from textmad.errors import ModelError
from textmad.models.causal_lm import training
from textmad.models.causal_lm.model import CausalLM
from textmad.models.causal_lm.preference import (
    plan_preference_steps,
    prefer,
    preference_loss,
)
from textmad.models.protocol import preferring
from textmad.recipe import (
    LoraSettings,
    ModelSettings,
    PreferenceSettings,
    SampleSettings,
    TrainSettings,
)
from textmad.seeds import stream
from textmad.text.documents import documents

# Printed by `python -m tests.trl_losses`, with trl 1.16.0, transformers 5.23.0, torch 2.13.0+cpu:
# the loss before each of four steps, by loss and whether documents have prompts.
TRL_LOSSES = {
    ("kto", False): [0.5, 0.452633, 0.4077423, 0.3675199],
    ("kto", True): [0.5, 0.4548192, 0.421378, 0.3880794],
    ("apo_zero_unpaired", True): [0.5, 0.4518532, 0.4062254, 0.3648516],
    ("dpo", False): [0.6931472, 0.5091348, 0.3721308, 0.2742728],
}


def own_losses(loss: str, prompts: bool, model: torch.nn.Module | None = None) -> list[float]:
    curve = prefer(
        trl_losses.model() if model is None else model,
        trl_losses.judged(prompts),
        trl_losses.settings(loss),
        context=trl_losses.CONTEXT,
        seed=trl_losses.SEED,
    )
    return [row["loss"] for row in curve]


# --- the losses -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", TRL_LOSSES, ids=str)
def test_four_steps_have_the_losses_that_trl_had(case: tuple[str, bool]) -> None:
    # Four steps: also the gradients, the KL term and the reference model are trl's.
    np.testing.assert_allclose(own_losses(*case), TRL_LOSSES[case], rtol=0, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
@pytest.mark.parametrize("case", trl_losses.CASES, ids=str)
def test_four_steps_have_the_losses_of_trl_itself(case: tuple[str, bool]) -> None:
    np.testing.assert_allclose(own_losses(*case), trl_losses.trl_losses(*case), rtol=0, atol=1e-5)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_each_loss_is_its_formula() -> None:
    gain = torch.tensor([0.7, -0.2, 0.4, -1.1], dtype=torch.float64)
    accepted = torch.tensor([True, True, False, False])
    weights = {"accepted_weight": 2.0, "rejected_weight": 0.5}
    kto = PreferenceSettings(loss="kto", beta=0.3, **weights)
    by_hand = [
        *(2 * (1 - logistic(0.3 * (g - 0.25))) for g in (0.7, -0.2)),
        *(0.5 * (1 - logistic(0.3 * (0.25 - g))) for g in (0.4, -1.1)),
    ]
    value = float(preference_loss(kto, gain, accepted, kl=0.25))
    assert value == pytest.approx(sum(by_hand) / 4)
    apo = PreferenceSettings(loss="apo_zero_unpaired", beta=0.3, **weights)
    by_hand = [
        *(2 * (1 - logistic(0.3 * g)) for g in (0.7, -0.2)),
        *(0.5 * logistic(0.3 * g) for g in (0.4, -1.1)),
    ]
    assert float(preference_loss(apo, gain, accepted)) == pytest.approx(sum(by_hand) / 4)
    dpo = PreferenceSettings(loss="dpo", beta=0.3)
    by_hand = [-math.log(logistic(0.3 * margin)) for margin in (0.7 - 0.4, -0.2 + 1.1)]
    assert float(preference_loss(dpo, gain, accepted)) == pytest.approx(sum(by_hand) / 2)


def test_a_mean_loss_of_kto_is_never_measured_from_a_point_below_the_reference() -> None:
    model = trl_losses.model()
    judged = [each._replace(accepted=False) for each in trl_losses.judged(prompts=False)]
    asked = trl_losses.settings("kto")
    curve = prefer(model, judged, asked, context=trl_losses.CONTEXT, seed=0)
    assert curve[-1]["rejected_gain"] < -0.1  # all became less likely, so their mean fell
    assert [row["kl"] for row in curve] == [0.0] * 4
    assert {row["accepted_gain"] for row in curve} == {None}


# --- the steps ------------------------------------------------------------------------------


def test_an_epoch_reads_each_document_once_in_steps_of_about_equal_size() -> None:
    asked = PreferenceSettings(batch_documents=4, epochs=2)
    steps = plan_preference_steps(np.arange(10) < 3, asked, seed=0)
    assert [len(step) for step in steps] == [4, 3, 3] * 2
    first, second = np.concatenate(steps[:3]), np.concatenate(steps[3:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
    assert steps == plan_preference_steps(np.arange(10) < 3, asked, seed=0)
    assert steps != plan_preference_steps(np.arange(10) < 3, asked, seed=1)


def test_a_pair_stays_together_and_half_an_epoch_reads_half_of_them() -> None:
    asked = PreferenceSettings(loss="dpo", batch_documents=2, epochs=1.5)
    steps = plan_preference_steps(np.arange(8) < 4, asked, seed=0)
    assert [len(step) for step in steps] == [4, 4, 4]
    assert all(step[1::2] == [index + 4 for index in step[::2]] for step in steps)


@pytest.mark.parametrize("case", TRL_LOSSES, ids=str)
def test_how_a_step_is_cut_changes_nothing(
    case: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = own_losses(*case)
    small = trl_losses.settings(case[0]).model_copy(update={"micro_batch_tokens": 1})
    monkeypatch.setattr(trl_losses, "settings", lambda loss: small)
    np.testing.assert_allclose(own_losses(*case), whole, rtol=0, atol=1e-6)
    unpacked = trl_losses.model()
    unpacked.set_attn_implementation("eager")
    assert not training.can_pack(unpacked)
    np.testing.assert_allclose(own_losses(*case, unpacked), whole, rtol=0, atol=1e-5)


def test_checkpointed_layers_learn_the_same_without_dropout() -> None:
    model = trl_losses.model()
    asked = trl_losses.settings("kto").model_copy(update={"gradient_checkpointing": True})
    judged = trl_losses.judged(prompts=True)
    recomputed = [0]
    forward = model.transformer.h[0].mlp.forward

    def counted(*arguments: object) -> object:
        recomputed[0] += 1
        return forward(*arguments)

    model.transformer.h[0].mlp.forward = counted
    curve = prefer(model, judged, asked, context=trl_losses.CONTEXT, seed=trl_losses.SEED)
    # Once for the reference and its KL texts each step; then in each step the documents, the KL
    # texts, the documents again, and once more in the backward pass; and one check at the end.
    assert recomputed[0] == (1 + 4) + 4 * (1 + 1 + 2) + 1
    losses = [row["loss"] for row in curve]
    np.testing.assert_allclose(losses, own_losses("kto", True), rtol=0, atol=1e-6)


def test_a_document_longer_than_the_context_is_learned_in_windows_as_one() -> None:
    judged = trl_losses.judged(prompts=False)
    asked = trl_losses.settings("kto")
    numbers = [
        prefer(trl_losses.model(), judged, asked, context=context, seed=0)
        for context in (trl_losses.CONTEXT, 6)
    ]
    # Four documents of six do not fit 6 positions: no token is lost, and each loss is one number.
    assert sum(len(document.row.ids) - 1 > 6 for document in judged) >= 3
    assert [row["tokens"] for row in numbers[0]] == [row["tokens"] for row in numbers[1]]
    assert numbers[1][-1]["loss"] < numbers[1][0]["loss"] == pytest.approx(0.5)


def test_diverging_training_names_the_setting() -> None:
    asked = trl_losses.settings("apo_zero_unpaired")
    assert asked.preference is not None
    fast = asked.model_copy(
        update={"preference": asked.preference.model_copy(update={"learning_rate": 1e30})}
    )
    with pytest.raises(ModelError) as caught:
        prefer(trl_losses.model(), trl_losses.judged(False), fast, context=32, seed=0)
    assert str(caught.value).startswith("train.preference.learning_rate: 1e+30: training diverges:")


# --- a model --------------------------------------------------------------------------------


LORA = LoraSettings(rank=8, alpha=64.0)


@pytest.fixture(scope="module", params=[LORA, None], ids=["lora", "full"])
def start(request: pytest.FixtureRequest, trained_gpt2_folder) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(trained_gpt2_folder), lora=request.param))


@cache  # three losses begin at the same model
def written(model: CausalLM, name: str) -> list[tuple[str, bool, int]]:
    samples = model.sample(
        SampleSettings(max_new_tokens=60), num_tokens=3000, stream=lambda i: stream(0, name, i)
    )
    return [(sample.text, sample.finished, sample.tokens) for sample in samples]


def preferring_by(
    model: CausalLM, accepts: Callable[[int, float], bool], **asked: object
) -> CausalLM:
    texts, finished, tokens = zip(*written(model, "judged"), strict=True)
    middle = float(np.median(tokens))
    good = [number for number, num in enumerate(tokens) if accepts(num, middle)]
    bad = [number for number, num in enumerate(tokens) if not accepts(num, middle)]
    num = min(len(good), len(bad))  # as DPO has it
    rows = [*good[:num], *bad[:num]]
    judged = documents(
        {"text": [texts[row] for row in rows], "finished": [finished[row] for row in rows]}
    ).add_column("accepted", [True] * num + [False] * num)
    train = TrainSettings(preference={"epochs": 5, "beta": 0.5, **asked})
    fitted = model.prefer(judged, train, seed=0)
    assert isinstance(fitted.model, CausalLM)
    assert fitted.curve[-1]["accepted_gain"] > fitted.curve[-1]["rejected_gain"]
    return fitted.model


def mean_length(model: CausalLM) -> float:
    return float(np.mean([tokens for _, _, tokens in written(model, "measured")]))


@pytest.mark.parametrize(
    ("start", "loss"),
    [(LORA, "kto"), (LORA, "apo_zero_unpaired"), (LORA, "dpo"), (None, "kto")],
    indirect=["start"],
    ids=str,
)
def test_a_preference_for_short_texts_is_learned_and_undone_by_its_opposite(start, loss) -> None:
    rate = 5e-4 if start.settings.lora is not None else 2e-4
    asked = {"loss": loss, "learning_rate": rate}
    shorter = preferring_by(start, lambda num, middle: num < middle, **asked)
    longer = preferring_by(shorter, lambda num, middle: num > middle, **asked)
    before, after, undone = map(mean_length, (start, shorter, longer))
    # Means of 100 texts and more, with standard errors of about 1.2 of 30 tokens.
    assert after < 0.85 * before
    assert undone > after + 0.5 * (before - after)


def test_the_model_that_learns_stays_as_it_is_and_is_its_own_reference(start) -> None:
    texts = ["we bake it with the tin.", "yes, in town every cat is old."]
    before = start.token_nll(texts)
    judged = documents({"text": texts}).add_column("accepted", [True, False])
    train = TrainSettings(preference={"learning_rate": 1e-2}, warmup=0, decay="none")
    first = start.prefer(judged, train, seed=0)
    for old, new in zip(before, start.token_nll(texts), strict=True):
        assert old.tolist() == new.tolist()
    # The next one begins at no gain above its reference, which is what the first has left.
    second = first.model.prefer(judged, train, seed=1)
    assert second.curve[0]["accepted_gain"] == pytest.approx(0, abs=1e-5)
    gains = [
        old.sum() - new.sum() for old, new in zip(before, first.model.token_nll(texts), strict=True)
    ]
    assert gains[0] > 0 > gains[1]


def test_a_cut_text_teaches_no_end_and_one_without_a_prompt_begins_with_the_start_token(
    start,
) -> None:
    judged = documents(
        {"text": ["the cat", "the dog"], "prompt": ["", "my"], "finished": [True, False]}
    )
    whole, cut = start._learned_rows(judged)
    assert whole.ids[0] == cut.ids[0] == start._base.start
    assert (whole.first, whole.ids[-1]) == (1, start._base.end)
    assert start._base.end not in cut.ids
    assert cut.first == 1 + len(start._base.text.encode(["my"])[0])


def test_a_model_that_cannot_prefer_is_an_error_that_says_what_it_lacks() -> None:
    class Plain:
        name = "plain"

    with pytest.raises(ModelError) as caught:
        preferring(Plain())
    assert str(caught.value) == (
        "train.preference: the model plain has no prefer(judged, train, seed=...); add it "
        "(textmad.models.protocol.SupportsPreference), or delete train.preference"
    )
