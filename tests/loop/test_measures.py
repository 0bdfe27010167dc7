"""What the loop hands to the evaluators beside texts and models."""

import pytest

import textmad as tm
from textmad.errors import ModelError, RunError


@pytest.fixture
def recipe(short_recipe, tiny_gpt2_folder):
    encoder = {"documents": 20, "encoder": str(tiny_gpt2_folder)}
    return short_recipe.replace(generations=0, evaluate=[{"embedding": encoder}, "adapter"])


def test_evaluators_are_given_the_training_curve_and_the_encoder_they_name(recipe, tmp_path):
    run = tm.run(recipe, tmp_path / "run")
    values = run.metrics.set_index(["metric", "split", "bin"])["value"]
    curve = run.curve(0)
    num = max(1, round(len(curve) / 10))
    first = curve[:num]
    tokens = first["tokens"].diff().fillna(first["tokens"])
    expected = (first["loss"] * tokens).sum() / tokens.sum()
    assert values["training_loss", "training", "first"] == pytest.approx(expected)
    assert values["adapter_norm", "all", ""] > 0
    assert 0 < values["mauve", "human", ""] <= 1


def test_an_encoder_that_is_not_there_is_refused_before_anything_is_trained(recipe, tmp_path):
    missing = recipe.replace(evaluate=[{"embedding": {"encoder": "no/such/one"}}])
    with pytest.raises(ModelError, match=r"^encoder: no/such/one: "):
        tm.run(missing, tmp_path / "run")
    assert not list((tmp_path / "run").glob("gen-*"))


def test_a_run_does_not_go_on_with_another_encoder(recipe, tmp_path, tiny_models):
    folder = tiny_models.save(tiny_models.gpt2(), tmp_path / "encoder")
    named = recipe.replace(evaluate=[{"embedding": {"documents": 20, "encoder": str(folder)}}])
    tm.run(named, tmp_path / "run")
    (folder / "generation_config.json").write_text("{}\n")
    with pytest.raises(RunError, match="encoders"):
        tm.run(named, tmp_path / "run")
