"""Cross models of one base model: W = W0 + sum_i w_i (W_i - W0), with weights of any sign.

    cross_adapters         of parents that have learned by low-rank adapters
      coefficients         the weights, or one parent for each layer
      _sum                 one module: w_i s_i B_i A_i side by side, as one product
    cross_networks         of parents all of whose weights are trained

With weights that add up to 1 this is an average of models (Wortsman et al., "Model soups",
2203.05482). In general it is the sum of task vectors (Ilharco et al., 2212.04089), and one parent
of negative weight is the step away from a model that learned from its own text (Alemohammad et al.,
"Neon", 2510.03597, where (1 + w) W0 - w W_1 is weight -w here).

Sums of adapters are exact: the factors stand side by side, [B_1 .. B_n] [A_1; ..; A_n] =
sum_i B_i A_i. peft's `linear`, `ties` and `dare` add the factors instead, so their product has
cross terms B_i A_j, which belong to no parent.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from textmad.errors import ModelError, unreadable
from textmad.models.causal_lm.lora import Adapter, adapted_modules
from textmad.recipe import LoraSettings

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

MARK = "crossed.json"
_PREFIX = "base_model.model."  # of peft's names


class LowRank(NamedTuple):
    """An adapter, and the rank, scale and targets that it was made with."""

    adapter: Adapter
    shape: LoraSettings


class _Product(NamedTuple):
    """A module's change as the product up @ down; rank r."""

    up: torch.Tensor  # B, (out, r)
    down: torch.Tensor  # A, (r, in)


# --- adapters -------------------------------------------------------------------------------


def cross_adapters(
    network: PreTrainedModel,
    parents: Sequence[LowRank | None],
    weights: Sequence[float],
    lora: LoraSettings,
    *,
    choose_layers: np.random.Generator | None = None,
) -> LowRank:
    """Return the adapter of scale 1 whose product is sum_i w_i s_i B_i A_i in every module.

    Its rank is that of the module with most terms; the other modules have zeros behind theirs. A
    module has no more terms than the smaller side of its matrix, so the rank does not grow without
    bound over generations of crossing.

    Args:
        network: the base model, for the order of modules.
        parents: of any ranks, scales and targets; None is the base model, whose change is zero.
        weights: of any sign, one a parent.
        lora: names the modules of an adapter that is zero, where no parent changes anything.
        choose_layers: draws one parent for each layer (`coefficients`).
    """
    adapts = [set() if parent is None else _modules_of(parent.adapter) for parent in parents]
    names = [name for name, _ in network.named_modules() if any(name in each for each in adapts)]
    shares = coefficients(names, weights, choose_layers)
    summed: dict[str, _Product] = {}
    for name in names:
        terms = [
            _term(parent, name, share)
            for parent, modules, share in zip(parents, adapts, shares[name], strict=True)
            if parent is not None and name in modules and share
        ]
        if terms and len((product := _sum(terms)).down):
            summed[name] = product
    return _adapter(summed) if summed else _zero(network, lora)


def _modules_of(adapter: Adapter) -> set[str]:
    """Return the names of the adapted modules, as the network has them."""
    return {name.rpartition(".lora_")[0].removeprefix(_PREFIX) for name in adapter}


def _term(parent: LowRank, module: str, share: float) -> _Product:
    """Return the product w s B A of one module; w s B is float64."""
    scale = parent.shape.alpha / parent.shape.rank
    up, down = (parent.adapter[f"{_PREFIX}{module}.lora_{side}.weight"] for side in "BA")
    return _Product(up.double() * (share * scale), down)


def _sum(terms: Sequence[_Product]) -> _Product:
    """Return the sum of products as one product of float32 factors, of the least obvious rank.

    Terms of rank one that are zero are left out, and those with the same row of A are one: models
    that descend from one crossing share its rows. If there are still more than the smaller side of
    the matrix, the matrix itself is one factor and the identity the other. Sums are computed in
    float64.
    """
    up, down = torch.cat([term.up for term in terms], 1), torch.cat([term.down for term in terms])
    # Terms with the same row of A: their columns of B add up.
    rows, row_of_term = torch.unique(down, dim=0, return_inverse=True)
    if len(rows) < len(down):
        merged = torch.zeros(len(up), len(rows), dtype=up.dtype)
        up, down = merged.index_add_(1, row_of_term, up), rows
    up = up.float()
    # Terms that are zero.
    is_term = down.any(1) & up.any(0)  # (r,)
    up, down = up[:, is_term], down[is_term]
    # More terms than the matrix has rows or columns.
    if len(down) > min(len(up), down.shape[1]):
        matrix = (up.double() @ down.double()).float()  # (out, in)
        if len(matrix) <= matrix.shape[1]:
            return _Product(torch.eye(len(matrix)), matrix)
        return _Product(matrix, torch.eye(matrix.shape[1]))
    return _Product(up, down)


def _adapter(products: Mapping[str, _Product]) -> LowRank:
    """Return products as one adapter of scale 1 by peft's names, filled up with zeros."""
    rank = max(len(product.down) for product in products.values())
    tensors = {}
    for module, (up, down) in products.items():
        room = rank - len(down)
        pad = torch.nn.functional.pad
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = pad(down, (0, 0, 0, room))
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = pad(up, (0, room))
    return LowRank(tensors, LoraSettings(rank=rank, alpha=rank, targets=tuple(sorted(products))))


def _zero(network: PreTrainedModel, lora: LoraSettings) -> LowRank:
    """Return an adapter of rank 1 on the recipe's modules that changes nothing."""
    products = {}
    for name in adapted_modules(network, lora):
        weight = network.get_submodule(name).weight
        # A Conv1D keeps its matrix as (in, out), a Linear as (out, in).
        is_linear = isinstance(network.get_submodule(name), torch.nn.Linear)
        num_out, num_in = weight.shape if is_linear else reversed(weight.shape)
        products[name] = _Product(torch.zeros(num_out, 1), torch.zeros(1, num_in))
    return _adapter(products)


# --- all weights ----------------------------------------------------------------------------


@torch.no_grad()
def cross_networks(
    base: PreTrainedModel,
    parents: Sequence[tuple[PreTrainedModel, PreTrainedModel] | None],
    weights: Sequence[float],
    *,
    choose_layers: np.random.Generator | None = None,
) -> PreTrainedModel:
    """Return a float32 network of the weights W0 + sum_i w_i (W_i - W0), frozen.

    Sums are computed in float64, a tensor at a time, so the network returned is the only one that
    takes memory. Tied weights stay tied.

    Args:
        base: the base model, W0.
        parents: each parent's network with the base model's that it began from; None for the base
            model itself.
        weights: of any sign, one a parent.
        choose_layers: draws one parent for each layer (`coefficients`).
    """
    network: PreTrainedModel = copy.deepcopy(base).float()
    weights_of = [
        None if pair is None else [dict(each.named_parameters()) for each in pair]
        for pair in parents
    ]
    modules = {name: name.rpartition(".")[0] for name, _ in network.named_parameters()}
    shares = coefficients(dict.fromkeys(modules.values()), weights, choose_layers)
    for name, weight in network.named_parameters():
        total = weight.double()
        for pair, share in zip(weights_of, shares[modules[name]], strict=True):
            if pair is not None and share:
                after, before = pair
                total += share * (after[name].double() - before[name].double())
        weight.copy_(total)
    return network.requires_grad_(False).eval()


# --- which parent gives what ----------------------------------------------------------------


def coefficients(
    modules: Iterable[str], weights: Sequence[float], choose_layers: np.random.Generator | None
) -> dict[str, Sequence[float]]:
    """Return each parent's coefficient in each module, by the module's name.

    Without `choose_layers` these are the weights. With it, each layer comes whole from one parent,
    drawn with chances that are proportional to the weights: 1 for this parent and 0 for the others.
    Draws follow the order of the modules.
    """
    if choose_layers is None:
        return dict.fromkeys(modules, weights)
    layer_of_module = {module: layer_of(module) for module in modules}
    layers = list(dict.fromkeys(layer_of_module.values()))
    chances = [weight / sum(weights) for weight in weights]
    parents = choose_layers.choice(len(weights), size=len(layers), p=chances).tolist()
    parent_of_layer = dict(zip(layers, parents, strict=True))
    return {
        module: [float(parent_of_layer[layer] == number) for number in range(len(weights))]
        for module, layer in layer_of_module.items()
    }


def layer_of(module: str) -> str:
    """Return the layer of a module: its name up to the first number, or the whole name.

    >>> layer_of("transformer.h.11.attn.c_attn"), layer_of("transformer.wte")
    ('transformer.h.11', 'transformer.wte')
    """
    parts = module.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else module


# --- on disk --------------------------------------------------------------------------------


def mark(folder: Path, shape: LoraSettings) -> None:
    """Write the shape of a crossed adapter beside it, since the recipe does not say it."""
    text = json.dumps(shape.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    (folder / MARK).write_text(text, encoding="utf-8")


def marked_shape(folder: Path) -> LoraSettings | None:
    """Return the shape of the crossed adapter in `folder`; None if the adapter is not crossed.

    Raises:
        ModelError: the file that says so is damaged.
        RunError: the disk does not give it.
    """
    try:
        text = (folder / MARK).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(folder / MARK, error) from error
    except ValueError as error:
        raise ModelError(f"{folder / MARK}: cannot be read: {error}") from error
    try:
        return LoraSettings.model_validate_json(text)
    except ValueError as error:
        raise ModelError(
            f"{folder / MARK}: expected the rank, alpha and targets of a crossed adapter: {error}"
        ) from error
