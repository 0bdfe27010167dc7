"""bfloat16 is used where it is asked for, or where the machine multiplies as fast in it."""

import logging
from pathlib import Path

import pytest
import torch

import textmad as tm
from textmad.models.causal_lm import number_type
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import ModelSettings


def on_a_machine(monkeypatch: pytest.MonkeyPatch, slowdown: float) -> None:
    monkeypatch.setattr(number_type, "slowdown_of_bfloat16", lambda device: slowdown)


@pytest.mark.parametrize(
    ("slowdown", "chosen"), [(0.4, torch.bfloat16), (1.0, torch.bfloat16), (6.0, torch.float32)]
)
def test_auto_is_what_this_machine_does_faster(monkeypatch, tiny_gpt2_folder, slowdown, chosen):
    on_a_machine(monkeypatch, slowdown)
    model = CausalLM.open(ModelSettings(base=str(tiny_gpt2_folder), dtype="auto"))
    assert model._base.network.dtype == chosen
    assert model.number_type == str(chosen).removeprefix("torch.")


def test_bfloat16_that_is_slow_here_is_used_with_a_warning_that_says_how_slow(
    monkeypatch, tiny_gpt2_folder, caplog
):
    on_a_machine(monkeypatch, 6.2)
    with caplog.at_level(logging.WARNING):
        model = CausalLM.open(ModelSettings(base=str(tiny_gpt2_folder), dtype="bfloat16"))
    assert model._base.network.dtype == torch.bfloat16
    assert (
        "model.dtype: bfloat16: this machine multiplies matrices 6.2 times as slowly in bfloat16 "
        "as in float32: set model.dtype: auto or float32"
    ) in caplog.messages


def test_a_run_does_not_go_on_where_auto_would_be_another_type(
    monkeypatch, short_recipe, tmp_path: Path
):
    recipe = short_recipe.replace(model={"dtype": "auto"}, generations=0)
    on_a_machine(monkeypatch, 6.0)
    run = tm.run(recipe, tmp_path / "run")
    assert run.provenance["digests"]["number type"] == "float32"
    on_a_machine(monkeypatch, 0.5)
    with pytest.raises(tm.RunError, match="number type"):
        tm.run(recipe.replace(generations=1), tmp_path / "run")


def test_the_slowdown_is_a_ratio_of_two_times():
    assert 0.01 < number_type.slowdown_of_bfloat16("cpu") < 1000
