"""One model trained by several processes: copies with common gradients (DDP), or shards (FSDP)."""

from __future__ import annotations

import copy
import os
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from textmad.errors import ModelError
from textmad.models.distributed import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel


def check_launcher() -> None:
    """Check that a launcher's configuration asks for nothing that is not done here.

    Raises:
        ModelError: DeepSpeed, or a base model of which only the first process reads the weights.
    """
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        raise ModelError("the launcher asks for DeepSpeed, which is not supported; use FSDP")
    if _is_set("ACCELERATE_USE_FSDP") and _is_set("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        # transformers would leave the other processes' weights empty, and sampling needs them.
        raise ModelError(
            "the launcher's configuration has fsdp_cpu_ram_efficient_loading: every process needs "
            "the whole base model to sample; set it to false, as recipes/accelerate/fsdp.yaml does"
        )


def sharded() -> bool:
    """Whether the launcher's configuration asks for FSDP, and there is more than one process."""
    return _is_set("ACCELERATE_USE_FSDP") and processes.world_size() > 1


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"


def distribute(model: torch.nn.Module, network: PreTrainedModel) -> torch.nn.Module:
    """`model`, ready to be trained by all processes; `network` is what it consists of.

    Sharded, each layer's weights are gathered while it computes, and no process holds the whole
    model; `model` itself is then changed, and its weights are read by `whole`.
    """
    device = processes.device()
    if processes.world_size() == 1:
        return model.to(device)
    if not sharded():
        return DistributedDataParallel(model.to(device), gradient_as_bucket_view=True)
    mesh = init_device_mesh(device.type, (processes.world_size(),))
    layers = set(network._no_split_modules or ())
    for module in list(network.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def accumulating(model: torch.nn.Module) -> AbstractContextManager[None]:
    """Inside, backward passes add up in each process and wait for the last one to be shared."""
    if isinstance(model, DistributedDataParallel):
        return model.no_sync()
    return _unshared(model) if isinstance(model, FSDPModule) else nullcontext()


@contextmanager
def _unshared(model: FSDPModule) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, in place."""
    if processes.world_size() > 1:
        torch.distributed.all_reduce(value)
    return value


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with all its shards; every process has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def room_beside(network: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """`network`, whole and only to be copied from; under FSDP it leaves the device meanwhile."""
    if not sharded():
        yield network
        return
    try:
        yield network.to("cpu")
    finally:
        network.to(processes.device())


def gathered(trained: PreTrainedModel, like: PreTrainedModel) -> PreTrainedModel:
    """All the weights of a model that `distribute` may have put in shards."""
    if not sharded():
        return trained
    weights = {name: whole(tensor).cpu() for name, tensor in trained.state_dict().items()}
    result = copy.deepcopy(like).float()
    result.load_state_dict(weights)
    return result
