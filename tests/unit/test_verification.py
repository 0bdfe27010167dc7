"""A base model that computes here what it does not compute by itself is an error when opened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from textmad.errors import ModelError
from textmad.models.base_files import base_digest, check_base
from textmad.models.causal_lm import verification
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, TrainSettings
from textmad.text.documents import documents

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["the cat sat on the mat", "that is this", "tea at ten"] * 4


@pytest.fixture
def folder(tiny_models: ModuleType, tmp_path: Path) -> Path:
    """A Llama of one's own, to be spoiled."""
    return tiny_models.save(tiny_models.llama(), tmp_path / "llama")


def llama(**settings) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = LlamaConfig(vocab_size=259, initializer_range=0.3, **sizes, **heads, **settings)
    return LlamaForCausalLM(config)


def rejection(folder: Path, lora: LoraSettings | None = None) -> str:
    with pytest.raises(ModelError) as rejected:
        CausalLM.open(ModelSettings(base=str(folder), lora=lora))
    assert rejected.value.exit_code == 4
    return str(rejected.value)


# --- the network ----------------------------------------------------------------------------


def test_a_base_is_verified_once_in_a_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []
    monkeypatch.setattr(verification, "_verified", set())  # other tests open the same network
    monkeypatch.setattr(verification, "verify", lambda *given: verified.append(given[-1]))
    for _ in range(2):
        CausalLM.open(ModelSettings(base=str(folder), lora=None))
    assert verified == [str(folder)]
    targets = LoraSettings(targets=("q_proj",))
    CausalLM.open(ModelSettings(base=str(folder), lora=targets))
    assert len(verified) == 2  # an adapter may find other modules


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_base_with_numbers_that_are_not_finite_is_an_error(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "its own probabilities are not finite" in rejection(folder)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_way_that_differs_is_named_with_the_difference(folder: Path, bfloat16: bool) -> None:
    settings = ModelSettings(
        base=str(folder), lora=None, dtype="bfloat16" if bfloat16 else "float32"
    )
    network = CausalLM.open(settings)._base.network
    verification.verify(network, None, 64, "base")
    inner = network.model.layers[1].self_attn
    inner.layer_idx = 0  # the second layer's keys and values overwrite the first one's
    with pytest.raises(ModelError, match=r"sampling with slots .* by up to \d+(\.\d+)? nats"):
        verification.verify(network, None, 64, "base")


def test_rotary_factors_that_change_with_the_length_bound_the_context(
    tiny_models: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    config = Phi3Config(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        original_max_position_embeddings=32,
        rope_scaling={"type": "longrope", **factors},
        pad_token_id=0,
        initializer_range=0.3,
    )
    folder = tiny_models.save(Phi3ForCausalLM(config), tmp_path)
    model = CausalLM.open(ModelSettings(base=str(folder), lora=None))
    assert model.context == 32
    with pytest.raises(ModelError, match="rotary factors change with the length"):
        verification.verify(model._base.network, None, 64, "base")
    with pytest.raises(ModelError, match="has 32; expected at most 31"):
        check_base(model.settings, SampleSettings(max_new_tokens=40))


@pytest.mark.slow
def test_rejections_do_not_hang_on_assertions(tiny_models: ModuleType, tmp_path: Path) -> None:
    from transformers import DogeConfig, DogeForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = DogeConfig(vocab_size=259, num_attention_heads=4, **sizes)
    folder = tiny_models.save(DogeForCausalLM(config), tmp_path)
    program = (
        "import sys; from textmad.models.causal_lm.model import CausalLM; "
        "from textmad.recipe import ModelSettings; "
        "CausalLM.open(ModelSettings(base=sys.argv[1], lora=None))"
    )
    answer = subprocess.run(
        [sys.executable, "-O", "-c", program, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "ModelError: model.base" in answer.stderr.splitlines()[-1]


# --- the files ------------------------------------------------------------------------------


def config_with(folder: Path, file: str = "config.json", **settings) -> Path:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "sub/w.safetensors", "w.bin"])
def test_an_index_that_names_other_than_safetensors_in_the_folder_is_an_error(
    folder: Path, name: str
) -> None:
    (folder / "sub").mkdir()
    for place in ("../elsewhere.safetensors", "sub/w.safetensors", "w.bin"):
        (folder / place).write_bytes((folder / "model.safetensors").read_bytes())
    weight_map = dict.fromkeys(load_file(folder / "model.safetensors"), name)
    (folder / "model.safetensors").rename(folder / "kept.safetensors")
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert f"model.safetensors.index.json names '{name}'" in rejection(folder)
    with pytest.raises(ModelError, match="nothing else is checked and digested"):
        check_base(ModelSettings(base=str(folder)))


def test_sharded_weights_in_the_folder_are_opened(tiny_models: ModuleType, tmp_path: Path) -> None:
    network = llama()
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    tiny_models.byte_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    CausalLM.open(ModelSettings(base=str(tmp_path), lora=None))


def test_weights_named_in_the_config_lie_in_the_folder(folder: Path) -> None:
    config_with(folder, transformers_weights="sub/w.safetensors")
    assert "config.json: transformers_weights names 'sub/w.safetensors'" in rejection(folder)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_kernel_from_the_hub_is_code_of_its_own(folder: Path, key: str) -> None:
    config_with(folder, **{key: "org/kernel"})
    assert f"config.json has {key}: org/kernel: the model asks to run code" in rejection(folder)


def test_code_of_its_own_is_found_at_any_depth(folder: Path) -> None:
    config_with(folder, text_config={"attn_implementation": "org/kernel@main:attention"})
    assert "attn_implementation: org/kernel@main" in rejection(folder)


def test_an_adapter_beside_the_weights_is_an_error(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    assert "has an adapter (adapter_config.json) beside the weights" in rejection(folder)


def test_quantized_weights_are_errors(folder: Path) -> None:
    config_with(folder, quantization_config={"quant_method": "bitsandbytes"})
    assert "quantization_config: the weights are quantized" in rejection(folder)


@pytest.mark.parametrize("name", ["tokenizer.model", "chat_template.jinja", "merges.txt"])
def test_every_file_that_may_be_opened_is_digested(folder: Path, name: str) -> None:
    before = base_digest(folder)
    (folder / name).write_text("anything")
    assert base_digest(folder) != before


def test_what_transformers_would_do_unasked_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"temperature": 0.6, "top_k": 20, "do_sample": True, "eos_token_id": [258, 3]}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    CausalLM.open(ModelSettings(base=str(folder), lora=None))
    assert "temperature 0.6, top_k 20" in caplog.text
    assert "eos_token_id [258, 3]: not used" in caplog.text
    assert "1 tensors of the weights" in caplog.text


# --- what is learned ------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
def test_what_an_output_layer_learns_is_a_change_also_where_it_is_tied(
    tied: bool, tiny_models: ModuleType, tmp_path: Path
) -> None:
    folder = tiny_models.save(llama(tie_word_embeddings=tied), tmp_path / "base")
    lora = LoraSettings(rank=4, alpha=8.0, targets=("lm_head",))
    base = CausalLM.open(ModelSettings(base=str(folder), lora=lora))
    fitted = base.fit(documents({"text": TEXTS}), TrainSettings(learning_rate=1e-2), seed=0).model
    [change] = fitted.weight_changes()
    assert change.name == "lm_head.weight"
    assert change.update > 0
    fitted.export(tmp_path / "exported")
    exported = CausalLM.open(ModelSettings(base=str(tmp_path / "exported"), lora=None))
    for one, two in zip(fitted.token_nll(TEXTS[:3]), exported.token_nll(TEXTS[:3]), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_tied_weight_that_learns_as_a_whole_is_one_change(
    tiny_models: ModuleType, tmp_path: Path
) -> None:
    folder = tiny_models.save(llama(tie_word_embeddings=True), tmp_path)
    base = CausalLM.open(ModelSettings(base=str(folder), lora=None))
    fitted = base.fit(documents({"text": TEXTS}), TrainSettings(learning_rate=1e-3), seed=0).model
    names = [change.name for change in fitted.weight_changes()]
    assert len(names) == len(set(names)) == len(list(base._base.network.named_parameters()))


@pytest.mark.parametrize("rate", [1e30, 1e18])
@pytest.mark.parametrize("epochs", [0.2, 4.0], ids=["one step", "more steps"])
def test_training_that_diverges_is_an_error_that_names_step_loss_and_setting(
    folder: Path, rate: float, epochs: float
) -> None:
    base = CausalLM.open(ModelSettings(base=str(folder), lora=None))
    train = TrainSettings(epochs=epochs, batch_tokens=64, learning_rate=rate, warmup=0.0)
    with pytest.raises(ModelError) as diverged:
        base.fit(documents({"text": TEXTS}), train, seed=0)
    assert f"train.learning_rate: {rate:g}: training diverges: " in str(diverged.value)
    assert "step" in str(diverged.value)
    assert "the loss is" in str(diverged.value)


def test_a_model_whose_scores_are_no_numbers_samples_nothing(folder: Path) -> None:
    model = CausalLM.open(ModelSettings(base=str(folder), lora=None))
    with torch.no_grad():
        model._base.network.lm_head.weight[5] = float("nan")
    with pytest.raises(ModelError, match="scores of the next token are not finite"):
        model.sample(SampleSettings(max_new_tokens=4), num_tokens=9, stream=np.random.default_rng)


def test_documents_that_do_not_come_back_are_counted_when_they_are_learned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = ["<unk>", "<s>", "</s>", *map(chr, range(33, 127)), "\n", "\t", "▁"]
    backend = Tokenizer(models.Unigram([(letter, -1.0) for letter in letters], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(tmp_path)
    llama().save_pretrained(tmp_path)
    base = CausalLM.open(ModelSettings(base=str(tmp_path), lora=None))
    assert base.read_back(["a 漢b"]) == ["a b"]
    base.fit(documents({"text": ["a 漢b", "a cat", "漢"]}), TrainSettings(), seed=0)
    assert "2 of 3 documents to learn from do not come back" in caplog.text


@pytest.mark.parametrize("texts", [[], [""]])
def test_nothing_to_learn_from_is_an_error(folder: Path, texts: list[str]) -> None:
    base = CausalLM.open(ModelSettings(base=str(folder), lora=None))
    corpus = documents({"text": texts, "finished": [False] * len(texts)})
    with pytest.raises(ModelError, match="without a single token to learn from"):
        base.fit(corpus, TrainSettings(), seed=0)
