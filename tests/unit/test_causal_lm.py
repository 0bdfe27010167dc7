import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from textmad.errors import ModelError, RunError
from textmad.models.base_files import base_reference, check_base
from textmad.models.causal_lm.loading import open_base
from textmad.models.causal_lm.model import CausalLM, lora
from textmad.models.causal_lm.scoring import Row, windows
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, TrainSettings
from textmad.text.documents import documents

ROOT = Path(__file__).resolve().parents[2]
GPT2 = LoraSettings(rank=4, alpha=8.0, targets=("c_attn", "c_proj"))
LLAMA = LoraSettings(rank=4, alpha=8.0, targets=("q_proj", "down_proj"))
TRAIN = TrainSettings(epochs=5, batch_tokens=64, learning_rate=1e-2)
CORPUS = documents({"text": ["the cat sat on the mat", "that is this", "tea at ten"] * 4})
TEXTS = [
    "the cat",
    "",
    "a much longer text than the others here",
    "tea at ten",
    "</s>",
    "é 漢字 🙂",
]


def settings_of(folder: Path, adapter: LoraSettings | None = GPT2) -> ModelSettings:
    return ModelSettings(base=str(folder), lora=adapter)


@pytest.fixture(scope="module")
def base(tiny_gpt2_folder: Path) -> CausalLM:
    return CausalLM.open(settings_of(tiny_gpt2_folder))


@pytest.fixture(scope="module", params=["gpt2 lora", "llama lora", "gpt2 full"])
def any_base(
    request: pytest.FixtureRequest, tiny_gpt2_folder: Path, tiny_llama_folder: Path
) -> CausalLM:
    return CausalLM.open(
        {
            "gpt2 lora": settings_of(tiny_gpt2_folder, GPT2),
            "llama lora": settings_of(tiny_llama_folder, LLAMA),
            "gpt2 full": settings_of(tiny_gpt2_folder, None),
        }[request.param]
    )


def total(model: CausalLM, texts: list[str]) -> float:
    return sum(float(nll.sum()) for nll in model.token_nll(texts))


# --- reading text ---------------------------------------------------------------------------


def test_encode_adds_the_end_token_and_nothing_else(base: CausalLM) -> None:
    plain = base._base.tokenizer
    for text, ids in zip(TEXTS, base.encode(TEXTS), strict=True):
        assert ids.dtype == np.int32
        assert ids[-1] == base._base.end
        assert plain.decode(ids[:-1].tolist()) == text
        assert not {base._base.start, base._base.end} & set(ids[:-1].tolist())


def test_characters_that_spell_the_end_token_are_ordinary_characters(base: CausalLM) -> None:
    [ids] = base.encode(["a</s>b<s>"])
    assert len(ids) == len("a</s>b<s>") + 1  # a byte each
    assert base._base.tokenizer.decode(ids[:-1].tolist()) == "a</s>b<s>"


def test_a_beginning_is_so_many_tokens_and_never_half_a_character(base: CausalLM) -> None:
    assert base.beginning("a tin", 2) == "a t"  # " t" is one piece
    assert base.beginning("é!", 1) == ""  # é is two bytes
    assert base.beginning("é!", 2) == "é"


# --- scores ---------------------------------------------------------------------------------


def test_token_nll_is_the_log_softmax_of_one_text_at_a_time(any_base: CausalLM) -> None:
    start = any_base._base.start
    for text, nll in zip(TEXTS, any_base.token_nll(TEXTS), strict=True):
        [target] = any_base.encode([text])
        with torch.no_grad():
            ids = torch.tensor([[start, *target[:-1]]])
            logits = any_base._base.network(input_ids=ids).logits[0].double()
        expected = -logits.log_softmax(-1)[range(len(target)), target.tolist()]
        assert nll.dtype == np.float64
        np.testing.assert_allclose(nll, expected.numpy(), atol=2e-5)


def test_a_batch_scores_as_its_texts_do_alone(any_base: CausalLM) -> None:
    texts, prompts = [*TEXTS, "tea", "x"], ["", "the ", "a", "", "long prompt ", "", "t", "é"]
    together = any_base.token_nll(texts, prompts)
    for text, prompt, nll in zip(texts, prompts, together, strict=True):
        [alone] = any_base.token_nll([text], [prompt])
        np.testing.assert_allclose(nll, alone, atol=1e-5)


def test_a_prompt_is_context_and_not_scored(base: CausalLM) -> None:
    # Byte by byte no piece crosses the border, so prompt and text score as the whole does.
    [whole] = base.token_nll(["hello you"])
    [after] = base.token_nll([" you"], ["hello"])
    np.testing.assert_allclose(after, whole[5:], atol=1e-5)


def test_a_hit_is_a_token_that_no_other_is_likelier_than(base: CausalLM) -> None:
    scores = base.token_scores(TEXTS)
    for text, correct in zip(TEXTS, scores.correct, strict=True):
        [target] = base.encode([text])
        with torch.no_grad():
            ids = torch.tensor([[base._base.start, *target[:-1]]])
            best = base._base.network(input_ids=ids).logits[0].argmax(-1)
        assert correct.tolist() == [int(b) == t for b, t in zip(best, target, strict=True)]


def test_a_text_longer_than_the_context_scores_every_token_once(base: CausalLM) -> None:
    text = "the quick brown fox " * 20  # 400 bytes, 64 positions
    [target] = base.encode([text])
    [nll] = base.token_nll([text])
    assert len(nll) == len(target)
    assert np.isfinite(nll).all()
    [short] = base.token_nll([text[:39]])  # up to a word's end
    agreed = len(short) - 1  # its end token is not the long text's next one
    np.testing.assert_allclose(nll[:agreed], short[:agreed], atol=1e-5)


@pytest.mark.parametrize("first", [1, 5, 30])
def test_windows_fit_the_context_and_cover_each_scored_token_once(first: int) -> None:
    for length in range(first + 1, 60):
        row = Row(np.arange(length), first)
        covered = []
        for window in windows(row, context=8):
            assert 2 <= len(window.ids) <= 9  # 8 inputs and one more target
            assert row.first + window.offset == window.ids[window.first]
            covered += window.ids[window.first :].tolist()
        assert covered == list(range(first, length))


# --- learning -------------------------------------------------------------------------------


def test_fit_lowers_the_loss_and_leaves_the_base_as_it_was(any_base: CausalLM) -> None:
    weights = {k: v.clone() for k, v in any_base._base.network.state_dict().items()}
    before = total(any_base, CORPUS["text"][:])
    fitted = any_base.fit(CORPUS, TRAIN, seed=0)
    assert total(fitted.model, CORPUS["text"][:]) < 0.8 * before
    assert total(any_base, CORPUS["text"][:]) == before
    for name, tensor in any_base._base.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert not any(p.requires_grad for p in any_base._base.network.parameters())


def test_fit_on_a_fitted_model_goes_on_from_it(any_base: CausalLM) -> None:
    once = any_base.fit(CORPUS, TRAIN, seed=0)
    twice = once.model.fit(CORPUS, TRAIN, seed=1)
    assert twice.curve[0]["loss"] < once.curve[0]["loss"]
    assert total(twice.model, CORPUS["text"][:]) < total(once.model, CORPUS["text"][:])


def test_the_same_seed_gives_the_same_model_whatever_was_drawn_before(base: CausalLM) -> None:
    models = []
    for seed in (0, 0, 1):
        torch.rand(len(models) + 1)
        models.append(base.fit(CORPUS, TRAIN, seed=seed).model)
    assert total(models[0], TEXTS) == total(models[1], TEXTS)
    assert total(models[0], TEXTS) != total(models[2], TEXTS)


def test_a_prompt_is_not_learned_and_a_cut_text_teaches_no_end(base: CausalLM) -> None:
    corpus = documents({"text": ["abc", "abc"], "prompt": ["pq", ""], "finished": [True, False]})
    start, end = base._base.start, base._base.end
    a, b, c, p, q = (int(ids[0]) for ids in base.encode(["a", "b", "c", "p", "q"]))
    finished, cut = base._examples(corpus)
    assert finished.input_ids.tolist() == [start, p, q, a, b, c]
    assert finished.labels.tolist() == [-100, -100, a, b, c, end]
    assert cut.input_ids.tolist() == [start, a, b]
    assert cut.labels.tolist() == [a, b, c]


def test_a_document_longer_than_the_context_is_learned_once_in_windows(base: CausalLM) -> None:
    text = "abcdefgh" * 30
    examples = base._examples(documents({"text": [text]}))
    learned = [label for e in examples for label in e.labels.tolist() if label != -100]
    assert learned == base.encode([text])[0].tolist()
    assert max(len(e.input_ids) for e in examples) <= base.context


# --- the adapter ----------------------------------------------------------------------------


def test_adapted_modules_are_counted(tiny_gpt2_folder: Path, tiny_llama_folder: Path) -> None:
    # GPT-2 has c_attn once and c_proj twice a layer; both have two layers.
    assert CausalLM.open(settings_of(tiny_gpt2_folder)).num_adapted_modules == 2 * 3
    assert CausalLM.open(settings_of(tiny_llama_folder, LLAMA)).num_adapted_modules == 2 * 2
    assert CausalLM.open(settings_of(tiny_llama_folder, None)).num_adapted_modules == 0


def test_by_default_every_linear_module_but_the_output_layer_is_adapted(
    tiny_gpt2_folder: Path, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    # Two layers each: c_attn, c_fc and c_proj twice; four of the attention, three of the MLP.
    gpt2 = CausalLM.open(settings_of(tiny_gpt2_folder, LoraSettings()))
    assert gpt2.num_adapted_modules == 2 * 4
    llama = CausalLM.open(settings_of(tiny_llama_folder, LoraSettings(rank=2)))
    assert llama.num_adapted_modules == 2 * 7
    # It is what the names say, to the last bit, and comes back from its folder.
    named = settings_of(tiny_gpt2_folder, LoraSettings(targets=("c_attn", "c_fc", "c_proj")))
    found = gpt2.fit(CORPUS, TRAIN, seed=0).model
    expected = CausalLM.open(named).fit(CORPUS, TRAIN, seed=0).model
    assert found._weights.adapter.keys() == expected._weights.adapter.keys()
    assert all(
        torch.equal(found._weights.adapter[key], expected._weights.adapter[key])
        for key in found._weights.adapter
    )
    found.save(tmp_path)
    assert gpt2.load(tmp_path).token_nll(CORPUS[:2])[0].tolist() == (
        found.token_nll(CORPUS[:2])[0].tolist()
    )
    kept = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert kept["target_modules"] == ["c_attn", "c_fc", "c_proj"]


def test_a_target_that_matches_nothing_is_an_error_with_the_names_there_are(
    tiny_llama_folder: Path,
) -> None:
    with pytest.raises(ModelError) as refusal:
        CausalLM.open(settings_of(tiny_llama_folder, LoraSettings(targets=("q_proj", "c_attn"))))
    assert str(refusal.value) == (
        "model.lora.targets: c_attn: the model has no such linear module; it has "
        "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    )


def test_a_merged_adapter_computes_what_the_unmerged_one_does(base: CausalLM) -> None:
    model = base.fit(CORPUS, TRAIN, seed=0).model
    unmerged = lora.attach(base._base.network, GPT2, seed=9, adapter=model._weights.adapter).eval()
    ids = torch.tensor([[base._base.start, 5, 6, 7]])
    with torch.no_grad():
        expected = unmerged(input_ids=ids).logits
        assert not torch.allclose(expected, base._base.network(input_ids=ids).logits, atol=0.1)
        assert torch.allclose(model._network(input_ids=ids).logits, expected, atol=1e-4)


def test_only_adapted_weights_take_memory_of_their_own(base: CausalLM) -> None:
    model = base.fit(CORPUS, TRAIN, seed=0).model
    pristine = {name: p.data_ptr() for name, p in base._base.network.named_parameters()}
    own = {n for n, p in model._network.named_parameters() if pristine.get(n) != p.data_ptr()}
    assert own == {f"{name}.weight" for name in lora.adapted_modules(base._base.network, GPT2)}


def test_an_adapter_merges_in_float32_into_a_bfloat16_base(tiny_gpt2_folder: Path) -> None:
    low = CausalLM.open(settings_of(tiny_gpt2_folder).model_copy(update={"dtype": "bfloat16"}))
    assert low._base.network.dtype == torch.bfloat16
    model = low.fit(CORPUS, TRAIN.model_copy(update={"learning_rate": 1e-5}), seed=0).model
    name = "transformer.h.0.attn.c_attn.weight"
    change = model._network.state_dict()[name] - low._base.network.state_dict()[name].float()
    assert model._network.dtype == torch.float32
    assert 0 < change.abs().max() < 1e-4  # bfloat16 keeps 8 bits: it would round this away
    assert low._base.network.dtype == torch.bfloat16


# --- on disk --------------------------------------------------------------------------------


def test_a_saved_model_is_loaded_exactly(any_base: CausalLM, tmp_path: Path) -> None:
    fitted = any_base.fit(CORPUS, TRAIN, seed=0).model
    fitted.save(tmp_path)
    again = any_base.load(tmp_path)
    for one, two in zip(fitted.token_nll(TEXTS), again.token_nll(TEXTS), strict=True):
        assert np.array_equal(one, two)
    settings, stream = SampleSettings(max_new_tokens=8), np.random.default_rng
    assert fitted.sample(settings, num_tokens=99, stream=stream) == again.sample(
        settings, num_tokens=99, stream=stream
    )
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}


def test_peft_and_transformers_open_a_saved_model_by_its_folder_alone(
    any_base: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = any_base.fit(CORPUS, TRAIN, seed=0).model
    fitted.save(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    adapted = any_base.settings.lora is not None
    opens = peft.AutoPeftModelForCausalLM if adapted else AutoModelForCausalLM
    network = opens.from_pretrained("saved").eval()
    tokenizer = AutoTokenizer.from_pretrained("saved")
    for text, nll in zip(TEXTS[:4], fitted.token_nll(TEXTS[:4]), strict=True):
        ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([ids[:-1]])).logits[0].double()
        expected = -logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]]
        np.testing.assert_allclose(nll, expected.numpy(), atol=1e-4)


def test_an_adapter_names_its_base_as_other_programs_find_it(
    base: CausalLM, tiny_gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_gpt2_folder.parent)
    relative = settings_of(Path(tiny_gpt2_folder.name))
    assert base_reference(relative) == (str(tiny_gpt2_folder.resolve()), None, True)
    built_in = base_reference(ModelSettings(base="tiny-gpt2"))
    assert Path(built_in.name).is_absolute()
    assert (Path(built_in.name) / "config.json").is_file()
    on_hub = ModelSettings(base="org/model", revision="v1")
    assert base_reference(on_hub) == ("org/model", "v1", False)
    fitted = base.fit(CORPUS, TRAIN, seed=0).model
    lora.save(fitted._weights.adapter, GPT2, base_reference(on_hub), tmp_path)
    config = peft.PeftConfig.from_pretrained(tmp_path)
    assert (config.base_model_name_or_path, config.revision) == ("org/model", "v1")


def test_an_exported_model_is_an_ordinary_folder_with_a_card(
    any_base: CausalLM, tmp_path: Path
) -> None:
    fitted = any_base.fit(CORPUS, TRAIN, seed=0).model
    folder = tmp_path / "exported"
    fitted.export(folder, notes="Generation 3 of a run.")
    again = CausalLM.open(any_base.settings.model_copy(update={"base": str(folder)}))
    for one, two in zip(fitted.token_nll(TEXTS), again.token_nll(TEXTS), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert AutoTokenizer.from_pretrained(folder).eos_token == "</s>"
    card = (folder / "README.md").read_text()
    assert f"`{fitted.name}`" in card
    assert card.endswith("Generation 3 of a run.\n")
    assert str(Path(any_base.settings.base).parent) not in card  # no path of this machine
    with pytest.raises(RunError, match="expected an empty folder or none"):
        fitted.export(folder)


def test_the_same_fit_saves_the_same_bytes(any_base: CausalLM, tmp_path: Path) -> None:
    for name in "ab":
        any_base.fit(CORPUS, TRAIN, seed=3).model.save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_peft_itself_opens_a_saved_adapter(
    base: CausalLM, tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    fitted = base.fit(CORPUS, TRAIN, seed=0).model
    fitted.save(tmp_path)
    network = AutoModelForCausalLM.from_pretrained(tiny_gpt2_folder, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(network, tmp_path).eval()
    ids = torch.tensor([[base._base.start, 5, 6, 7]])
    with torch.no_grad():
        expected = fitted._network(input_ids=ids).logits
        assert torch.allclose(theirs(input_ids=ids).logits, expected, atol=1e-4)


def test_an_adapter_of_another_rank_is_an_error(
    base: CausalLM, tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    base.fit(CORPUS, TRAIN, seed=0).model.save(tmp_path)
    other = CausalLM.open(settings_of(tiny_gpt2_folder, GPT2.model_copy(update={"rank": 8})))
    with pytest.raises(ModelError, match="the adapter has r 4, the recipe 8"):
        other.load(tmp_path)


def test_the_base_has_nothing_to_save(base: CausalLM, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has learned nothing"):
        base.save(tmp_path)


# --- refusals -------------------------------------------------------------------------------


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def refusal(settings: ModelSettings, sample: SampleSettings | None = None) -> str:
    """What `check_base` says, which `open_base` has to say as well."""
    with pytest.raises(ModelError) as checked:
        check_base(settings, sample)
    assert checked.value.exit_code == 4
    if sample is None:
        with pytest.raises(ModelError) as opened:
            open_base(settings)
        assert str(opened.value) == str(checked.value)
    return str(checked.value)


def test_an_unknown_base_is_an_error_with_all_that_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal(ModelSettings(base="tiny-gtp2"))
    assert message.startswith("model.base: tiny-gtp2: not built in (tiny-gpt2), not a folder in ")
    assert "HF_HUB_OFFLINE is set and it is not cached" in message


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "nothing here"
    assert refusal(ModelSettings(base=str(missing))) == (
        f"model.base: {missing}: expected tiny-gpt2, a folder, a Hub id or module:name; "
        f"there is no folder {missing}"
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (["ACCELERATE_USE_DEEPSPEED"], "the launcher asks for DeepSpeed, which is not supported"),
        (
            ["ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"],
            "fsdp_cpu_ram_efficient_loading: every process needs the whole base model to sample",
        ),
    ],
)
def test_a_launcher_s_wish_that_is_not_met_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tiny_gpt2_folder: Path, variables: list[str], message: str
) -> None:
    for variable in variables:
        monkeypatch.setenv(variable, "true")
    with pytest.raises(ModelError, match=message):
        open_base(settings_of(tiny_gpt2_folder))


def test_a_folder_with_pickles_only_is_an_error(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_gpt2_folder, tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert refusal(settings_of(folder)) == (
        f"model.base: {folder}: {folder} has its weights as pickles only (pytorch_model.bin), "
        "which can run code when opened; save them as safetensors (save_pretrained does)"
    )


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_remote_code_is_an_error(tiny_gpt2_folder: Path, tmp_path: Path, file: str) -> None:
    folder = copied(tiny_gpt2_folder, tmp_path)
    config = json.loads((folder / file).read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "own.Model"}
    (folder / file).write_text(json.dumps(config))
    assert refusal(settings_of(folder)).startswith(f"model.base: {folder}: {file} has auto_map")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "no config.json in"),
        ("tokenizer.json", "no tokenizer.json in"),
        ("model.safetensors", "no *.safetensors in"),
    ],
)
def test_a_missing_file_is_named(
    tiny_gpt2_folder: Path, tmp_path: Path, file: str, message: str
) -> None:
    folder = copied(tiny_gpt2_folder, tmp_path)
    (folder / file).unlink()
    assert message in refusal(settings_of(folder))


def test_a_model_without_a_key_value_cache_is_an_error(
    tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_gpt2_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["layer_types"] = ["linear_attention", "full_attention"]
    (folder / "config.json").write_text(json.dumps(config))
    assert "layers of type linear_attention have no key-value cache" in refusal(settings_of(folder))


def test_a_model_with_capped_attention_scores_is_an_error(
    tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_gpt2_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["attn_logit_softcapping"] = 50.0
    (folder / "config.json").write_text(json.dumps(config))
    assert "attn_logit_softcapping: sampling here knows plain softmax" in refusal(
        settings_of(folder)
    )


def test_a_model_with_an_attention_of_its_own_is_an_error(tiny_models, tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=259, hidden_size=32, n_layer=1, n_head=2)
    config.max_position_embeddings = 64
    folder = tiny_models.save(BloomForCausalLM(config), tmp_path)
    with pytest.raises(ModelError, match="BloomForCausalLM brings its own attention, for which"):
        open_base(settings_of(folder))


def test_truncated_weights_are_errors(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_gpt2_folder, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"the weights in .* cannot be opened"):
        open_base(settings_of(folder))


def test_missing_tensors_are_errors_and_not_filled_at_random(
    tiny_gpt2_folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tiny_gpt2_folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.attn.c_attn.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"1 tensors are missing .*transformer\.h\.1\.attn\.c_attn"
    ):
        open_base(settings_of(folder))


def test_documents_longer_than_the_positions_are_errors_before_torch_is_there(
    tiny_gpt2_folder: Path,
) -> None:
    # The start token takes one of the 64 positions, a prompt of 8 eight more.
    settings = settings_of(tiny_gpt2_folder)
    check_base(settings, SampleSettings(max_new_tokens=63))
    check_base(settings, SampleSettings(max_new_tokens=55, prompt="human"))
    assert refusal(settings, SampleSettings(max_new_tokens=64)).startswith(
        "sample.max_new_tokens: 64: start token + max_new_tokens is 65 positions, "
    )
    assert refusal(settings, SampleSettings(max_new_tokens=56, prompt="human")).endswith(
        "has 64; expected at most 55"
    )
    program = (
        "import sys; from textmad.models.base_files import check_base; "
        "from textmad.recipe import ModelSettings; "
        "check_base(ModelSettings(base=sys.argv[1])); assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", program, str(tiny_gpt2_folder)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
