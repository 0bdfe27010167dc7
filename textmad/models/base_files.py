"""The base model's files: found, checked and digested without torch.

A base model is a built-in name, a local folder or a Hub id; a Hub id becomes the folder of its
snapshot in the Hub's cache, so that all three pass the same checks. Safetensors only, no remote
code, and no file that the digest does not cover.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from textmad.errors import ModelError, check_disk, disk_error, unreadable
from textmad.recipe import ModelSettings, SampleSettings
from textmad.store import file_digest
from textmad.store.files import reading

BUILT_IN = ("tiny-gpt2",)
_BASE, _ENCODER = "model.base", "encoder"  # whose file it is, as messages say
_SMALL_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]
_WEIGHTS = "*.safetensors"
_INDEX = "*.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
# Under these kinds of layer a position sees all earlier ones, as the decoding assumes.
_FULL_ATTENTION = {"full_attention", "sliding_attention"}
# Keys of config.json under which transformers fetches code from the Hub and runs it.
_CODE_KEYS = ("attn_implementation", "experts_implementation", "kernel_config", "use_kernels")
# Rotary embeddings whose factors change once a text is longer than the first context.
_CHANGING_ROTARY = {"longrope", "su", "dynamic"}


class BaseFacts(NamedTuple):
    """What is known of a base model without opening its weights."""

    folder: Path
    context: int  # positions
    vocabulary: int  # rows of the output layer
    model_type: str


class BaseReference(NamedTuple):
    """How another program finds a base model."""

    name: str  # an absolute folder, or a Hub id
    revision: str | None  # of a Hub id
    is_folder: bool


def check_base(settings: ModelSettings, sample: SampleSettings | None = None) -> BaseFacts:
    """What can be known before torch is imported; a Hub id may fetch its small files.

    >>> check_base(ModelSettings(base="no/such folder"))
    Traceback (most recent call last):
    textmad.errors.ModelError: model.base: no/such folder: expected tiny-gpt2, a folder, ...

    Raises:
        ModelError: no such base model, nothing but pickles, remote code, files missing, an
            architecture that cannot be decoded here, or documents longer than its positions.
    """
    folder = _folder(settings.base, settings.revision, _SMALL_FILES)
    called = f"{_BASE}: {settings.base}"
    with reading(folder):
        config = _decoder(folder, called)
        _check_no_remote_code(folder, called)
        _check_unaltered_weights(folder, config, called)
        if _is_local(settings.base):
            _require_weights(folder, called)
        _require_tokenizer(folder, called)
    facts = BaseFacts(folder, _context(config, called), config["vocab_size"], config["model_type"])
    if sample is not None:
        require_positions(facts.context, sample, settings.base)
    return facts


def whole_base(settings: ModelSettings) -> Path:
    """The folder of a base model with its weights, fetched where it is on the Hub.

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
    with reading(folder):
        config = _config(folder, called)
        _check_no_remote_code(folder, called)
        _check_unaltered_weights(folder, config, called)
        _require_tokenizer(folder, called)
    return folder


def _whole(name: str, revision: str | None, setting: str) -> Path:
    folder = _folder(name, revision, [*_SMALL_FILES, _WEIGHTS], setting)
    with reading(folder):
        _require_weights(folder, f"{setting}: {name}")
    return folder


def base_reference(settings: ModelSettings) -> BaseReference:
    """Return the absolute folder of a local or built-in base model, or Hub id and revision."""
    if _is_local(settings.base):
        folder = _folder(settings.base, settings.revision, [])
        return BaseReference(str(folder.resolve()), None, is_folder=True)
    return BaseReference(settings.base, settings.revision, is_folder=False)


def base_digest(folder: Path) -> str:
    """Return the SHA-256 over every file of a base model that can be opened, in hexadecimal.

    `check_base` raises where a file of the folder names another place: nothing else is opened.
    """
    total = hashlib.sha256()
    with reading(folder):
        found = {path for kind in (_WEIGHTS, *_SMALL_FILES) for path in folder.glob(kind)}
        for path in sorted(found):
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
        snapshot = snapshot_download(
            name,
            revision=revision,
            allow_patterns=patterns,
            ignore_patterns=["*/*"],  # other formats of the same weights
        )
    except Exception as error:  # network, permission, name and cache each have their own
        if of_disk := disk_error(error):
            raise unreadable(Path(of_disk.filename or constants.HF_HUB_CACHE), of_disk) from error
        why = str(error).strip().splitlines()[0] if str(error).strip() else ""
        mode = "HF_HUB_OFFLINE is set and it is not cached" if constants.HF_HUB_OFFLINE else why
        which = f" (revision {revision})" if revision else ""
        raise ModelError(
            f"{setting}: {name}: not built in ({', '.join(BUILT_IN)}), not a folder in "
            f"{Path.cwd()}, and not to be had from the Hub{which}: "
            f"{type(error).__name__}: {mode}"
        ) from error
    return Path(snapshot)


def _is_local(base: str) -> bool:
    return base in BUILT_IN or Path(base).expanduser().is_dir()


# --- what is in it --------------------------------------------------------------------------


def _config(folder: Path, called: str) -> dict[str, Any]:
    if not (folder / "config.json").exists():
        adapter = (folder / "adapter_config.json").exists()
        what = "an adapter, not a whole model" if adapter else "no config.json"
        raise ModelError(
            f"{called}: {what} in {folder}; expected a model folder as save_pretrained writes it"
        )
    config = _json(folder / "config.json", called)
    if not isinstance(config, dict):
        raise ModelError(f"{called}: config.json: expected a mapping of settings")
    return config


def _json(path: Path, called: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        check_disk(path, error)
        raise ModelError(f"{called}: {path}: {error}") from None


def _decoder(folder: Path, called: str) -> dict[str, Any]:
    config = _config(folder, called)
    missing = [key for key in ("model_type", "vocab_size") if key not in config]
    if missing or config.get("is_encoder_decoder"):
        why = f"no {missing[0]}" if missing else "an encoder-decoder"
        raise ModelError(f"{called}: config.json: {why}; expected a decoder-only language model")
    return config


def _check_no_remote_code(folder: Path, called: str) -> None:
    """Check that a config asks for no code from elsewhere, at any depth.

    A name with a slash among the implementations of attention or experts is a kernel on the Hub,
    which transformers fetches and imports.
    """
    for file in ("config.json", "tokenizer_config.json"):
        if not (folder / file).is_file():
            continue
        for key, value in _entries(_json(folder / file, called)):
            on_hub = "/" in str(value) and key.lstrip("_").removesuffix("_internal") in _CODE_KEYS
            if key == "auto_map" or on_hub:
                what = key if key == "auto_map" else f"{key}: {value}"
                raise ModelError(
                    f"{called}: {file} has {what}: the model asks to run code of its own, "
                    "which textmad never does; use a model whose architecture is part of "
                    "transformers, and delete such keys"
                )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, of nested mappings and lists too."""
    nested = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, dict | list):
        for each in nested:
            yield from _entries(each)


def _check_unaltered_weights(folder: Path, config: dict[str, Any], called: str) -> None:
    """Check that transformers does nothing to the weights without being asked."""
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{called}: {folder} has an adapter (adapter_config.json) beside the weights, which "
            "transformers would add to them: twice where they are merged already; move the "
            "adapter elsewhere, or merge it and save the merged weights alone"
        )
    if config.get("quantization_config"):
        raise ModelError(
            f"{called}: config.json: quantization_config: the weights are quantized, and training "
            "and merging need ordinary ones; save the model in float32 or bfloat16"
        )
    explicit = config.get("transformers_weights")
    if explicit is not None:
        _require_own_file(folder, explicit, "config.json: transformers_weights", called)
    for path in sorted(folder.glob(_INDEX)):
        index = _json(path, called)
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(weight_map, dict):
            raise ModelError(f"{called}: {path.name}: expected a weight_map from tensors to files")
        for name in sorted(set(map(str, weight_map.values()))):
            _require_own_file(folder, name, path.name, called)


def _require_own_file(folder: Path, name: Any, where: str, called: str) -> None:
    """Check that weights are a safetensors file in the folder itself."""
    own = isinstance(name, str) and Path(name).name == name and "\\" not in name
    if not own or not name.endswith((".safetensors", ".safetensors.index.json")):
        raise ModelError(
            f"{called}: {where} names {name!r}: expected the name of a .safetensors file in the "
            "folder itself, since nothing else is checked and digested"
        )


def _require_tokenizer(folder: Path, called: str) -> None:
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{called}: no tokenizer.json in {folder}; save the tokenizer there "
            "as a fast one: AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
        )


def _require_weights(folder: Path, called: str) -> None:
    if any(folder.glob(_WEIGHTS)):
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
    bounds = [positions, *([window] if uses_window and window else [])]
    context: int = min([*bounds, *_first_contexts(config)])
    return context


def _first_contexts(config: dict[str, Any]) -> Iterator[int]:
    """Yield the positions up to which rotary factors that change with the length stay the same.

    Beyond them a token's keys depend on how long the text becomes, so no cache could hold them.
    """
    for key, value in _entries(config):
        if key not in ("rope_scaling", "rope_parameters") or not isinstance(value, dict):
            continue
        for rotary in [value, *(each for each in value.values() if isinstance(each, dict))]:
            kind = rotary.get("rope_type", rotary.get("type"))
            first = rotary.get(
                "original_max_position_embeddings", config.get("original_max_position_embeddings")
            )
            if kind in _CHANGING_ROTARY and isinstance(first, int):
                yield first


def require_positions(context: int, sample: SampleSettings, name: str) -> None:
    """Check that documents are not longer than the model called `name` has positions."""
    prompt = sample.prompt_tokens if sample.prompt != "none" else 0
    needed = 1 + prompt + sample.max_new_tokens
    if needed > context:
        parts = "start token" + (f" + prompt_tokens {prompt}" if prompt else "")
        raise ModelError(
            f"sample.max_new_tokens: {sample.max_new_tokens}: {parts} + max_new_tokens is {needed} "
            f"positions, and {name} has {context}; expected at most {context - 1 - prompt}"
        )
