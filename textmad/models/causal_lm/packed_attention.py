"""Causal attention over a row of several documents, none of which sees another.

Nothing is masked: documents are taken apart, so there is nothing that could leak. A mask over the
whole row would cost the square of the row's length, and `position_ids` alone, without one, let
documents see each other (measured: logits off by 0.08).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from textmad.errors import ModelError
from textmad.models.causal_lm.batches import Batch, Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "textmad_packed"


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed: Layout,
    scaling: float | None = None,
    dropout: float = 0.0,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers' layers call it, on a row laid out as `packed`.

    Shapes: query (1, heads, tokens, size), key and value with as many or fewer heads; the result
    (1, tokens, heads, size).
    """
    if attention_mask is not None:  # documents are taken apart, so it would have no effect
        raise ModelError(
            "model.base: its layers make an attention mask of their own, which a row of several "
            "documents cannot have; use another base model"
        )
    q, k, v = (states.squeeze(0).transpose(0, 1) for states in (query, key, value))
    if dropout == 0 and not settings.get("softcap") and _has_flash(query):
        flat = varlen_attn(
            q,
            k,
            v,
            packed.starts,
            packed.starts,
            packed.longest,
            packed.longest,
            scale=scaling,
            window_size=(-1, 0),  # causal
            enable_gqa=query.shape[1] != key.shape[1],
        )
        assert isinstance(flat, torch.Tensor)
        return flat.unsqueeze(0), None
    sizes = [documents * length for documents, length in packed.rectangles]
    outs = []
    for shape, *parts in zip(
        packed.rectangles, *(torch.split(states, sizes) for states in (q, k, v)), strict=True
    ):
        # (documents, heads, length, size), without a copy
        own = [part.unflatten(0, shape).transpose(1, 2) for part in parts]
        out, _ = sdpa_attention_forward(
            module, *own, None, dropout=dropout, scaling=scaling, **settings
        )
        outs.append(out.flatten(0, 1))
    return torch.cat(outs).unsqueeze(0), None


def varlen_flash(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's own flash attention takes documents of any length here.

    Then rectangles are of no use, and no padding is.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    return device.type == "cuda" and half and torch.cuda.get_device_capability(device) >= (8, 0)


def _has_flash(query: torch.Tensor) -> bool:
    size = query.shape[-1]
    return size % 8 == 0 and size <= 256 and varlen_flash(query.device, query.dtype)


def can_pack(network: PreTrainedModel) -> bool:
    """Whether the network's layers let their attention be replaced, and it is the plain one."""
    return (
        bool(network._supports_attention_backend) and network.config._attn_implementation == "sdpa"
    )


@contextmanager
def packed_rows(network: PreTrainedModel) -> Iterator[None]:
    """Inside, `network` reads rows of several documents and wants to be told their `packed`."""
    before = network.config._attn_implementation
    network.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        network.set_attn_implementation(before)


def packed_logits(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Of the positions in a packed row that have a label, (targets, vocabulary).

    `network` reads packed rows, or wraps one that does.
    """
    logits: torch.Tensor = network(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=batch.learned,
        packed=batch.layout,
    ).logits
    return logits.squeeze(0)


AttentionInterface.register(_NAME, packed_attention)
