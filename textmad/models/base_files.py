"""The base model's files: found, checked and digested without torch.

A base is a built-in name, a local folder or a Hub id; a Hub id becomes the folder of its snapshot
in the Hub's cache, so that all three pass the same checks. Safetensors only, no remote code.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from textmad.errors import ModelError
from textmad.recipe import ModelSettings, SampleSettings
from textmad.store import file_digest

BUILT_IN = ("tiny-gpt2",)
_BASE, _ENCODER = "model.base", "encoder"  # whose file it is, as messages say
_SMALL_FILES = ["*.json", "*.model", "*.txt"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
# Under these kinds of layer a position sees all earlier ones, as the decoding assumes.
_FULL_ATTENTION = {"full_attention", "sliding_attention"}


class BaseFacts(NamedTuple):
    """What is known of a base without opening its weights."""

    folder: Path
    context: int  # positions
    vocabulary: int  # rows of the output layer
    model_type: str


class BaseReference(NamedTuple):
    """How another program finds a base."""

    name: str  # an absolute folder, or a Hub id
    revision: str | None  # of a Hub id
    is_folder: bool


def check_base(settings: ModelSettings, sample: SampleSettings | None = None) -> BaseFacts:
    """What can be known before torch is imported; a Hub id may fetch its small files.

    >>> check_base(ModelSettings(base="no/such folder"))
    Traceback (most recent call last):
    textmad.errors.ModelError: model.base: no/such folder: expected tiny-gpt2, a folder, ...

    Raises:
        ModelError: no such base, nothing but pickles, remote code, files missing, an architecture
            that cannot be decoded here, or documents longer than its positions.
    """
    folder = _folder(settings.base, settings.revision, _SMALL_FILES)
    called = f"{_BASE}: {settings.base}"
    config = _decoder(folder, called)
    _refuse_remote_code(folder, called)
    if _is_local(settings.base):
        _require_weights(folder, called)
    _require_tokenizer(folder, called)
    facts = BaseFacts(folder, _context(config, called), config["vocab_size"], config["model_type"])
    if sample is not None:
        require_positions(facts.context, sample, settings.base)
    return facts


def whole_base(settings: ModelSettings) -> Path:
    """The folder of a base with its weights, fetched where it is on the Hub.

    Raises:
        ModelError: it cannot be fetched, or has no safetensors.
    """
    return _whole(settings.base, settings.revision, _BASE)


def whole_encoder(name: str) -> Path:
    """The same of an encoder, whatever its architecture.

    Raises:
        ModelError: it cannot be fetched, lacks a file, is nothing but pickles, or wants to run its
            own code.
    """
    folder, called = _whole(name, None, _ENCODER), f"{_ENCODER}: {name}"
    _config(folder, called)
    _refuse_remote_code(folder, called)
    _require_tokenizer(folder, called)
    return folder


def _whole(name: str, revision: str | None, setting: str) -> Path:
    folder = _folder(name, revision, [*_SMALL_FILES, "*.safetensors"], setting)
    _require_weights(folder, f"{setting}: {name}")
    return folder


def base_reference(settings: ModelSettings) -> BaseReference:
    """Return the absolute folder of a local or built-in base, or the Hub id with its revision."""
    if _is_local(settings.base):
        folder = _folder(settings.base, settings.revision, [])
        return BaseReference(str(folder.resolve()), None, is_folder=True)
    return BaseReference(settings.base, settings.revision, is_folder=False)


def base_digest(folder: Path) -> str:
    """Over everything that shapes the base: weights, architecture, tokenizer."""
    total = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        total.update(f"{path.name} {file_digest(path)}\n".encode())
    return total.hexdigest()


# --- where it is ----------------------------------------------------------------------------


def _folder(name: str, revision: str | None, patterns: list[str], setting: str = _BASE) -> Path:
    if revision is not None and _is_local(name):
        raise ModelError(
            f"model.revision: {revision}: has no effect on {name}, which is no Hub id; delete it"
        )
    if name in BUILT_IN:
        return _built_in_folder(name)
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    if not _HUB_ID.fullmatch(name):
        also = "a folder, a Hub id or module:name" if setting == _BASE else "a folder or a Hub id"
        raise ModelError(
            f"{setting}: {name}: expected {', '.join(BUILT_IN)}, {also}; "
            f"there is no folder {Path(name).expanduser().absolute()}"
        )
    return _hub_folder(name, revision, patterns, setting)


def _built_in_folder(name: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    tried = (package / "data" / name, package.parent / "data" / name)  # wheel, checkout
    for folder in tried:
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(
        f"model.base: {name}: its files are in neither {tried[0]} nor {tried[1]}; "
        "install textmad again, or run `make base-model` in a checkout"
    )


def _hub_folder(name: str, revision: str | None, patterns: list[str], setting: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        found = snapshot_download(
            name,
            revision=revision,
            allow_patterns=patterns,
            ignore_patterns=["*/*"],  # other formats of the same weights
        )
    except Exception as error:  # network, permission, name and cache each have their own
        why = str(error).strip().splitlines()[0] if str(error).strip() else ""
        mode = "HF_HUB_OFFLINE is set and it is not cached" if constants.HF_HUB_OFFLINE else why
        which = f" (revision {revision})" if revision else ""
        raise ModelError(
            f"{setting}: {name}: not built in ({', '.join(BUILT_IN)}), not a folder in "
            f"{Path.cwd()}, and not to be had from the Hub{which}: "
            f"{type(error).__name__}: {mode}"
        ) from error
    return Path(found)


def _is_local(base: str) -> bool:
    return base in BUILT_IN or Path(base).expanduser().is_dir()


# --- what is in it --------------------------------------------------------------------------


def _config(folder: Path, called: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{called}: no config.json in {folder}; expected a model folder as "
            "save_pretrained writes it"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{called}: {folder / 'config.json'}: {error}") from None
    return dict(config)


def _decoder(folder: Path, called: str) -> dict[str, Any]:
    config = _config(folder, called)
    missing = [key for key in ("model_type", "vocab_size") if key not in config]
    if missing or config.get("is_encoder_decoder"):
        why = f"no {missing[0]}" if missing else "an encoder-decoder"
        raise ModelError(f"{called}: config.json: {why}; expected a decoder-only language model")
    return config


def _refuse_remote_code(folder: Path, called: str) -> None:
    for file in ("config.json", "tokenizer_config.json"):
        path = folder / file
        if path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8")):
            raise ModelError(
                f"{called}: {file} has auto_map: the model wants to run its own code, "
                "which textmad never does; use a model whose architecture is part of transformers"
            )


def _require_tokenizer(folder: Path, called: str) -> None:
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{called}: no tokenizer.json in {folder}; save the tokenizer there "
            "as a fast one: AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
        )


def _require_weights(folder: Path, called: str) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{called}: {folder} has its weights as pickles only ({pickles[0]}), which "
            "can run code when opened; save them as safetensors (save_pretrained does)"
        )
    raise ModelError(f"{called}: no *.safetensors in {folder}")


def _context(config: dict[str, Any], called: str) -> int:
    strange = set(config.get("layer_types") or ()) - _FULL_ATTENTION
    if strange:
        raise ModelError(
            f"{called}: layers of type {', '.join(sorted(strange))} have no key-value "
            "cache; expected attention layers only"
        )
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(positions, int):
        raise ModelError(
            f"{called}: config.json says neither max_position_embeddings nor n_positions"
        )
    if config.get("attn_logit_softcapping"):
        raise ModelError(
            f"{called}: config.json: attn_logit_softcapping: sampling here knows plain "
            "softmax attention only; expected a model without it"
        )
    # Inside its window sliding attention is full attention, so the window bounds the context.
    window = config.get("sliding_window")
    uses_window = config.get("use_sliding_window", True) and isinstance(window, int)
    return min(positions, window) if uses_window and window else positions


def require_positions(context: int, sample: SampleSettings, name: str) -> None:
    """Refuse documents longer than the model called `name` has positions."""
    prompt = sample.prompt_tokens if sample.prompt != "none" else 0
    needed = 1 + prompt + sample.max_new_tokens
    if needed > context:
        parts = "start token" + (f" + prompt_tokens {prompt}" if prompt else "")
        raise ModelError(
            f"sample.max_new_tokens: {sample.max_new_tokens}: {parts} + max_new_tokens is {needed} "
            f"positions, and {name} has {context}; expected at most {context - 1 - prompt}"
        )
