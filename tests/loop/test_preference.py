"""Preference learning in the whole loop: what is learned, when, and what a stage depends on."""

import shutil
from pathlib import Path

import pytest

import textmad as tm
from tests.run_contents import check_resumed
from textmad.errors import ModelError
from textmad.loop import member
from textmad.loop.judged_text import judged_text
from textmad.models.causal_lm.model import CausalLM
from textmad.seeds import torch_seed
from textmad.store import RunFolder

PREFERENCE = {"epochs": 1, "learning_rate": 1e-3, "batch_documents": 16}


@pytest.fixture(scope="module")
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(
        curate=[{"upvotes": {"keep": 0.4, "noise": 0.3}}],
        sample={"oversample": 4.0},
        train={"preference": PREFERENCE},
    )


@pytest.fixture(scope="module")
def run(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    """From the base model each time, preference after imitation."""
    return tm.run(recipe, tmp_path_factory.mktemp("preference") / "run")


def inputs(run: tm.Run, generation: int, stage: str = "model") -> dict[str, object]:
    manifest = RunFolder(run.path).manifest(stage, generation)
    assert manifest is not None
    return {"digest": manifest.digest, **manifest.inputs}


def weights(run: tm.Run, generation: int) -> bytes:
    folder = run.path / f"gen-{generation:02d}" / "model"
    return next(folder.glob("*model.safetensors")).read_bytes()


def test_each_generation_but_the_first_learns_what_was_judged_before(run: tm.Run):
    assert run.preference(0) is None
    for generation in (1, 2):
        candidates = run.candidates(generation - 1)
        learned = run.preference(generation)
        assert learned is not None
        assert learned["accepted"] == sum(candidates["kept"])
        assert learned["accepted"] + learned["rejected"] == len(candidates)
        assert learned["left_out"] == {}
        assert len(learned["curve"]) == -(-len(candidates) // 16)
        assert learned["curve"][0]["loss"] == pytest.approx(0.5)  # beside its own reference
        assert len(run.curve(generation)) > 0  # imitation came first


def test_the_reference_is_what_imitation_has_left(run: tm.Run, recipe: tm.Recipe):
    base = CausalLM.open(recipe.model)
    imitating = base.fit(run.training(1), recipe.train, seed=torch_seed(0, "fit", 1)).model
    judged = judged_text(recipe, 1, run.candidates(0)).documents
    preferred = imitating.prefer(judged, recipe.train, seed=torch_seed(0, "preference", 1)).model
    texts = judged["text"][:5]
    for own, committed in zip(
        preferred.token_nll(texts), run.model(1).token_nll(texts), strict=True
    ):
        assert own.tolist() == committed.tolist()


def test_the_key_of_the_stage_holds_the_digest_of_what_it_reads(run: tm.Run):
    assert "preference" not in inputs(run, 0)
    for generation in (1, 2):
        found = inputs(run, generation)
        assert found["judged"] == inputs(run, generation - 1, "curate")["digest"]
        assert found["mix"] == inputs(run, generation, "mix")["digest"]
        assert found["preference"]["learning_rate"] == 1e-3
        assert "preference" not in found["train"]


def test_a_resumed_run_has_the_same_bytes(run: tm.Run, tmp_path: Path):
    check_resumed(run, tmp_path / "run", "gen-02", "gen-01/model")


@pytest.mark.parametrize("start_from", ["base", "previous"])
def test_preference_alone_learns_no_training_set(recipe, tmp_path: Path, run: tm.Run, start_from):
    alone = recipe.replace(
        generations=1,
        model={"start_from": start_from},
        train={"preference": {"instead_of_imitation": True}},
    )
    short = tm.run(alone, tmp_path / "run")
    assert weights(short, 0) == weights(run, 0)  # generation 0 learns human text all the same
    assert len(short.curve(1)) == 0
    assert short.preference(1)["rejected"] > 0
    assert inputs(short, 1)["mix"] is None
    # Its reference is the base model, or the model of generation 0.
    base = CausalLM.open(alone.model)
    start = base if start_from == "base" else short.model(0)
    judged = judged_text(alone, 1, short.candidates(0)).documents
    own = start.prefer(judged, alone.train, seed=torch_seed(0, "preference", 1)).model
    text = judged["text"][:1]
    assert own.token_nll(text)[0].tolist() == short.model(1).token_nll(text)[0].tolist()


def test_another_preference_is_another_stage_and_generation_0_is_the_same(
    recipe, run: tm.Run, tmp_path: Path
):
    copied = Path(shutil.copytree(run.path, tmp_path / "run"))
    other = recipe.replace(train={"preference": {"beta": 0.2}})
    with pytest.raises(tm.TextmadError) as caught:
        tm.run(other, copied)
    assert "train.preference.beta" in str(caught.value)
    imitating = tm.run(
        recipe.replace(generations=0, train={"preference": None}), tmp_path / "imitating"
    )
    assert inputs(imitating, 0) == inputs(run, 0)


def test_a_model_of_ones_own_without_prefer_is_refused_before_anything_is_computed(
    recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Without:
        """A model with all that the loop asks of one, and no more."""

        def __init__(self, model: CausalLM) -> None:
            self._model = model

        def __getattr__(self, name: str) -> object:
            if name == "prefer":
                raise AttributeError(name)
            return getattr(self._model, name)

    opened = member.open_model
    monkeypatch.setattr(member, "open_model", lambda *given: Without(opened(*given)))
    with pytest.raises(ModelError, match="has no prefer"):
        tm.run(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "corpus").exists()
