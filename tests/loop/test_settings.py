"""What the settings of model and sample do to a run."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import textmad as tm
from textmad.models.causal_lm.model import CausalLM
from textmad.models.opening import open_model

# One optimizer step a generation, so the loss before it is that of the model it begins with.
ONE_STEP = {"epochs": 1, "batch_tokens": 100_000}


def loss(model: CausalLM, run: tm.Run, generation: int) -> float:
    """Nats per learned token of a generation's training set; a cut text teaches no end token."""
    training = run.training(generation)
    nll = model.token_nll(training["text"], training["prompt"])
    learned = [
        one if finished else one[:-1]
        for one, finished in zip(nll, training["finished"], strict=True)
    ]
    return float(np.concatenate(learned).mean())


@pytest.mark.parametrize("start_from", ["base", "previous"])
@pytest.mark.parametrize("lora", [{"rank": 4, "alpha": 8}, None], ids=["lora", "full"])
def test_a_generation_begins_with_the_model_that_the_recipe_says(
    short_recipe: tm.Recipe, tmp_path: Path, start_from: str, lora: dict[str, int] | None
):
    # Texts that fit the context: what precedes a later window depends on whether an end token does.
    within = {"max_new_tokens": 40}
    recipe = short_recipe.replace(
        train=ONE_STEP, model={"start_from": start_from, "lora": lora}, sample=within
    )
    run = tm.run(recipe, tmp_path / "run")
    base = open_model(recipe.model, recipe.sample)
    models = [base.load(run.model_folder(generation)) for generation in range(3)]
    for generation in range(3):
        previous = models[generation - 1] if generation else base
        begun_with, other = (base, previous) if start_from == "base" else (previous, base)
        first = run.curve(generation)["loss"].iloc[0]
        assert first == pytest.approx(loss(begun_with, run, generation), abs=1e-5)
        if generation:  # in generation 0 the two are the same
            assert abs(first - loss(other, run, generation)) > 1e-3


def test_full_fine_tuning_keeps_all_weights_and_no_adapter(
    short_recipe: tm.Recipe, trained_gpt2_folder: Path, tmp_path: Path
):
    recipe = short_recipe.replace(generations=1, model={"lora": None})
    folder = tm.run(recipe, tmp_path / "run").model_folder(1)
    assert not list(folder.glob("adapter*"))
    with (
        safe_open(folder / "model.safetensors", "numpy") as learned,
        safe_open(trained_gpt2_folder / "model.safetensors", "numpy") as base,
    ):
        assert set(learned.keys()) == set(base.keys())
        for name in base.keys():  # noqa: SIM118
            assert (learned.get_tensor(name) != base.get_tensor(name)).any(), name


@pytest.fixture(scope="module")
def prompted(short_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    recipe = short_recipe.replace(
        sample={"prompt": "human", "prompt_tokens": 6, "max_new_tokens": 50}
    )
    return tm.run(recipe, tmp_path_factory.mktemp("prompted") / "run")


def test_a_prompt_is_the_beginning_of_a_human_training_document_and_of_no_held_out_one(prompted):
    model = open_model(prompted.recipe.model, prompted.recipe.sample)
    prompts = set(prompted.candidates(0)["prompt"])
    beginnings = {model.beginning(text, 6) for text in prompted.human["text"]}
    assert prompts <= beginnings
    # Beginnings that both parts have, such as "do you", prove nothing; these do.
    forbidden = {model.beginning(text, 6) for text in prompted.held_out["text"]} - beginnings
    assert len(forbidden) > 10
    assert not prompts & forbidden
    assert {len(model.encode([prompt])[0]) - 1 for prompt in prompts} == {6}


def test_a_slot_has_the_same_prompt_in_every_generation(prompted):
    prompts = [prompted.candidates(generation)["prompt"][:] for generation in range(3)]
    shortest = min(map(len, prompts))
    assert shortest > 5
    assert prompts[0][:shortest] == prompts[1][:shortest] == prompts[2][:shortest]
    assert len(set(prompts[0])) > len(prompts[0]) / 2  # and slots have various ones


def test_prompt_and_continuation_are_kept_apart(prompted):
    model = open_model(prompted.recipe.model, prompted.recipe.sample)
    for generation in range(3):
        candidates = prompted.candidates(generation)
        assert not any(
            text.startswith(prompt)
            for text, prompt in zip(candidates["text"], candidates["prompt"], strict=True)
        )
        counted = [len(ids) for ids in model.encode(candidates["text"])]
        expected = [
            count if finished else count - 1
            for count, finished in zip(counted, candidates["finished"], strict=True)
        ]
        assert candidates["tokens"][:] == expected  # the prompt is not among them
    training = prompted.training(1)
    assert all(training["prompt"])  # the next generation reads it before what it learns
