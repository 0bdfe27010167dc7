"""Low-rank adapters: attach, merge, save and load them with peft.

All networks here share the tensors of the base model, so it is in memory once. Training changes the
adapter alone and never these tensors.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from textmad.errors import ModelError, check_disk
from textmad.models.distributed.parallel import whole
from textmad.recipe import LoraSettings
from textmad.seeds import torch_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from textmad.models.base_files import BaseReference

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
Adapter = Mapping[str, torch.Tensor]


def adapted_modules(network: PreTrainedModel, lora: LoraSettings) -> list[str]:
    """Return the full names of the modules that `lora.targets` adapts.

    `auto` stands for all linear modules but the output layer, as peft's `all-linear` does
    (Dettmers et al., "QLoRA", 2305.14314, find that all of them are needed).

    Raises:
        ModelError: a target matches no module, which peft would ignore silently, or `auto`
            finds none.
    """
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
    ]
    if lora.adapts_all:
        output = network.get_output_embeddings()
        inner = [name for name in names if network.get_submodule(name) is not output]
        if not inner:
            raise ModelError(
                "model.lora.targets: auto: the model has no linear module beside its output layer; "
                "set model.lora: null to train all weights"
            )
        return inner
    for target in lora.targets:
        if not any(_matches(name, target) for name in names):
            known = sorted({name.rpartition(".")[2] for name in names})
            raise ModelError(
                f"model.lora.targets: {target}: the model has no such linear module; "
                f"it has {', '.join(known)}"
            )
    return [name for name in names if any(_matches(name, target) for target in lora.targets)]


def attach(
    network: PreTrainedModel, lora: LoraSettings, *, seed: int, adapter: Adapter | None = None
) -> peft.PeftModel:
    """Return a trainable network over the base model's tensors, with a new adapter or `adapter`.

    peft's A matrices are random; they depend on `seed` alone.

    Raises:
        ModelError: a target matches no module, peft adapts others than the linear modules of that
            name (it has rules of its own for mixtures of experts), or `adapter` does not fit.
    """
    expected = adapted_modules(network, lora)
    config = _config(lora, _peft_targets(lora, expected))

    # Attach. peft draws the adapter's first weights from torch's global generator.
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(torch_seed(seed, "lora", "initial"))
        warnings.filterwarnings("ignore", message=".*fan_in_fan_out")  # peft sets it a layer
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # peft's own
        adapted = peft.get_peft_model(sharing(network), config)

    # Check what peft has adapted.
    wrapped = [
        name.removeprefix("base_model.model.")
        for name, module in adapted.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    ]
    if sorted(wrapped) != sorted(expected):
        other = sorted(set(wrapped) ^ set(expected))[0]
        raise ModelError(
            f"model.lora.targets: {', '.join(lora.targets)}: peft adapts {len(wrapped)} modules, "
            f"expected the {len(expected)} linear ones of these names; the first that differs is "
            f"{other}; name the targets by longer names, such as self_attn.q_proj"
        )

    if adapter is not None:
        _set_weights(adapted, adapter)
    return adapted


def adapter_of(adapted: peft.PeftModel) -> dict[str, torch.Tensor]:
    """Return a copy of the adapter's tensors by peft's names, float32 on CPU, never in shards."""
    state = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return {name: whole(tensor).detach().float().cpu().clone() for name, tensor in state.items()}


def merge(network: PreTrainedModel, lora: LoraSettings, adapter: Adapter) -> PreTrainedModel:
    """Return the network with the adapter's product added to its weights, in float32.

    In a smaller type the sum would round much of the update away. If the base model is float32,
    only the changed weights take memory; otherwise the network is copied.
    """
    is_float32 = network.dtype == torch.float32
    merged = sharing(network) if is_float32 else copy.deepcopy(network).float()
    for name in adapted_modules(merged, lora):  # these change, so they need tensors of their own
        module = merged.get_submodule(name)
        module.weight = torch.nn.Parameter(module.weight.detach().clone(), requires_grad=False)
    adapted = attach(merged, lora, seed=0, adapter=adapter)
    result: PreTrainedModel = adapted.merge_and_unload()
    if result.get_output_embeddings().weight is not result.get_input_embeddings().weight:
        result.config.tie_word_embeddings = False  # an adapted output layer is saved by itself
    return result.requires_grad_(False).eval()


def save(adapter: Adapter, lora: LoraSettings, base: BaseReference, folder: Path) -> None:
    """Write the adapter in peft's format; its bytes depend on the values and on `base` alone.

    `peft.AutoPeftModelForCausalLM` opens the base model that `base_model_name_or_path` names. That
    has to be an absolute path or a Hub id: a name that only textmad knows ("tiny-gpt2") would not
    be found. So this line of adapter_config.json differs between machines that keep the base model
    in different folders. No result depends on it, and `load` ignores it.
    """
    targets = _peft_targets(lora, _modules_of(adapter))
    config = _config(lora, targets).to_dict()
    config |= {"target_modules": sorted(targets), "inference_mode": True}
    config |= {"base_model_name_or_path": base.name, "revision": base.revision}
    plain = {
        key: sorted(value) if isinstance(value, set) else value for key, value in config.items()
    }
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    tensors = {name: adapter[name].contiguous() for name in sorted(adapter)}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def load(folder: Path, lora: LoraSettings) -> dict[str, torch.Tensor]:
    """Read an adapter that `save` wrote under the same settings.

    Raises:
        ModelError: it is missing, damaged, or has another rank, scale or targets.
        RunError: the disk does not give it.
    """
    try:
        saved: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        check_disk(folder, error)
        raise ModelError(f"{folder}: no adapter can be read there: {error}") from error
    targets = _peft_targets(lora, _modules_of(tensors))
    expected = {"r": lora.rank, "lora_alpha": lora.alpha, "target_modules": sorted(targets)}
    for key, value in expected.items():
        if saved.get(key) != value:
            raise ModelError(
                f"{folder / CONFIG}: the adapter has {key} {saved.get(key)}, the recipe {value}"
            )
    return tensors


def _peft_targets(lora: LoraSettings, modules: Collection[str]) -> list[str]:
    """Return the names that peft is given: those of the recipe, or the ends of the modules' names.

    A number is the place in a list, which layers have too: `ffn.0` and not `0`.
    """
    if not lora.adapts_all:
        return list(lora.targets)
    ends = {tuple(name.split(".")[-2:]) for name in modules}
    return sorted({".".join(end) if end[-1].isdigit() else end[-1] for end in ends})


def _modules_of(adapter: Adapter) -> set[str]:
    """Return the names of the modules that an adapter's tensors belong to."""
    return {name.rpartition(".lora_")[0] for name in adapter}


def _matches(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _config(lora: LoraSettings, targets: list[str]) -> peft.LoraConfig:
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        bias="none",
    )


def sharing(network: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of the module tree that shares all tensors with `network`."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, memo={id(tensor): tensor for tensor in tensors})


def without_values(network: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of the module tree whose tensors have shapes and no values (meta device)."""
    empty = {
        id(tensor): torch.nn.Parameter(tensor.to("meta"), requires_grad=False)
        for tensor in network.parameters()
    }
    empty |= {id(tensor): tensor.to("meta") for tensor in network.buffers()}
    return copy.deepcopy(network, memo=empty)


def _set_weights(adapted: peft.PeftModel, adapter: Adapter) -> None:
    expected = {name: tensor.shape for name, tensor in adapter_of(adapted).items()}
    given = {name: tensor.shape for name, tensor in adapter.items()}
    if expected != given:
        differing = sorted(expected.items() ^ given.items())[0][0]
        raise ModelError(f"the saved adapter does not fit the base model: {differing} differs")
    peft.set_peft_model_state_dict(adapted, dict(adapter))
