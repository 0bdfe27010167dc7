"""Every family of transformers' decoders opens and is right, or is rejected with a reason."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from textmad.errors import ModelError
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import ModelSettings, SampleSettings

ROOT = Path(__file__).resolve().parents[2]
# One of each mechanism; the others are slow only because they are many.
SAMPLED = {
    "gpt2",
    "qwen3_moe",
    "gemma3_text",
    "falcon",
    "recurrent_gemma",
    "gpt_oss",
    "diffllama",
    "doge",
    "electra",
    "roberta",
}


def load(name: str) -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


families = load("model_families")
TEXTS = ["the cat sat on the mat", "", "a", "é 漢字"]
UNIFORMS = 12  # tokens of a sampled document at most


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            family,
            id=family.names,
            marks=[] if family.model_type in SAMPLED else [pytest.mark.slow],
        )
        for family in families.FAMILIES
    ],
)
def test_a_family_opens_and_is_right_or_is_an_error_with_a_reason(
    family, tiny_models: ModuleType, tmp_path: Path
) -> None:
    folder = tiny_models.save(families.build(family), tmp_path)
    settings = ModelSettings(base=str(folder))  # with an adapter on the modules that it finds
    if family.rejected:
        with pytest.raises(ModelError) as rejected:
            CausalLM.open(settings)
        assert family.rejected in str(rejected.value)
        assert rejected.value.exit_code == 4
        return
    model = CausalLM.open(settings)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for ids, nll in zip(model.encode(TEXTS), model.token_nll(TEXTS), strict=True):
        shares = log_shares(plain, [families.START, *ids[:-1].tolist()])
        np.testing.assert_allclose(nll, -shares[range(len(ids)), ids], atol=1e-4)
    settings = SampleSettings(max_new_tokens=UNIFORMS, slots=2)
    drawn = model.sample(settings, num_tokens=13 * UNIFORMS, stream=np.random.default_rng)
    assert len(drawn) > 2  # refills
    for number, document in enumerate(drawn):
        ids, finished = plain_draw(plain, np.random.default_rng(number).random(UNIFORMS))
        assert document.text == model._base.text.decode([ids], [False])[0]
        assert document.finished == finished


@torch.no_grad()
def log_shares(plain: PreTrainedModel, ids: list[int]) -> np.ndarray:
    """Log-probabilities after each id by transformers alone, `(time, vocabulary)` float64."""
    logits = plain(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return logits.double().log_softmax(-1).numpy()


def plain_draw(plain: PreTrainedModel, uniforms: np.ndarray) -> tuple[list[int], bool]:
    """A document drawn by inverting the cumulative distribution, a forward pass a token."""
    ids = [families.START]
    for uniform in uniforms:
        until = np.exp(log_shares(plain, ids)[-1]).cumsum()
        token = int(np.searchsorted(until, uniform * until[-1], side="right"))
        if token == families.END:
            return ids[1:], True
        ids.append(token)
    return ids[1:], False


def test_the_page_lists_every_family_as_it_is() -> None:
    assert families.PAGE.read_text(encoding="utf-8").endswith(families.table()), (
        "run `python tests/model_families.py`"
    )
