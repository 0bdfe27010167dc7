"""The keys and values of the documents in flight, allocated once, and attention over them.

Column p of a slot belongs to position p of its document. On CPU the columns come in pages of 32,
and a slot holds only as many as its document is long: attention reads what is there, so short
documents beside long ones cost what short ones cost, and nothing is ever copied. Pages of the same
columns lie side by side, so that each such pool is one dense matrix product. On a GPU, where the
addresses of a captured step may not change, a slot holds all its columns as one page, and a mask
hides those behind the position.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, PreTrainedModel

from textmad.errors import ModelError

ATTENTION = "textmad_slots"
_PAGE = 32  # columns; half of the last one is wasted on average, and each costs two products
_BUCKET = 64  # whole rows are a multiple of this wide, as the fast attention kernels want it
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")  # what some models add to plain attention


class SlotCache:
    """Room for `num_slots` documents of up to `length` fed tokens each."""

    def __init__(self, network: PreTrainedModel, num_slots: int, length: int, *, paged: bool):
        self._device, self._dtype = network.device, network.dtype
        self._num_layers = int(network.config.num_hidden_layers)
        self._paged = paged
        self._pools: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._keys: list[torch.Tensor | None] = [None] * self._num_layers
        self._values: list[torch.Tensor | None] = [None] * self._num_layers
        self._lay_out(num_slots, length)

    def _lay_out(self, num_slots: int, length: int) -> None:
        self.num_slots = num_slots
        self._page = _PAGE if self._paged else -(-length // _BUCKET) * _BUCKET
        self._num_pages = -(-length // self._page)
        self.length = self._page * self._num_pages
        # Which row of pool p holds a slot's page p, -1: none; whose each row is, num_slots: none's.
        self._row_of = np.full((self._num_pages, num_slots), -1)
        self._slot_of = np.full((self._num_pages, num_slots), num_slots)
        self._row_of[0] = self._slot_of[0] = np.arange(num_slots)  # a slot always has its first
        self._first_rows = torch.arange(num_slots, device=self._device)
        self._columns = torch.arange(self.length, device=self._device)

    # --- each step --------------------------------------------------------------------------

    def point(self, position: torch.Tensor) -> None:
        """The step to come writes and attends at `position` (slots,) of each slot's document."""
        if self._paged:
            page = position // self._page
            row = torch.from_numpy(self._turn_pages(page.numpy())) + page * self.num_slots
            num_columns = (int(page.max()) + 1) * self._page
            column = position - page * self._page
        else:
            row, column, num_columns = self._first_rows, position, self.length
        self._row, self._column = row.unsqueeze(1), column.unsqueeze(1)
        self._written: dict[int, torch.Tensor] = {}  # by the number of a layer's key heads
        behind = self._columns[:num_columns] > position.unsqueeze(1)
        mask = torch.zeros(behind.shape, dtype=self._dtype, device=self._device)
        self._mask = mask.masked_fill_(behind, -torch.inf).view(self.num_slots, 1, 1, num_columns)

    def _turn_pages(self, page: np.ndarray) -> np.ndarray:
        """Give each slot the pages up to `page` and take back later ones; the row of `page`."""
        self._pools = []  # of the pages after the first: the slot of each row, twice; see below
        for number in range(1, self._num_pages):
            row_of, slot_of = self._row_of[number], self._slot_of[number]
            dropped = (row_of >= 0) & (page < number)
            slot_of[row_of[dropped]] = self.num_slots
            row_of[dropped] = -1
            added = np.flatnonzero((row_of < 0) & (page >= number))
            free = np.flatnonzero(slot_of == self.num_slots)[: len(added)]
            row_of[added], slot_of[free] = free, added
            used = np.flatnonzero(slot_of < self.num_slots)
            if len(used) and number <= page.max():
                slots = torch.from_numpy(slot_of[: used[-1] + 1].copy())
                self._pools.append((slots.clamp(max=self.num_slots - 1), slots))
        rows: np.ndarray = self._row_of[page, np.arange(self.num_slots)]
        return rows

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Write this step's column of a layer and attend to all so far, (slots, 1, heads, size)."""
        keys = self._write(self._keys, layer, key)
        values = self._write(self._values, layer, value)
        # The query heads that share a key head stand where a longer query would: nothing repeated.
        grouped = query.reshape(self.num_slots, key.shape[1], -1, query.shape[-1])
        if self._paged:
            out = self._attend_pages(grouped * scale, keys, values)
        else:
            out = torch.nn.functional.scaled_dot_product_attention(
                grouped, keys, values, attn_mask=self._mask, scale=scale
            )
        return out.reshape(self.num_slots, 1, -1, out.shape[-1])

    def _write(
        self, layers: list[torch.Tensor | None], layer: int, new: torch.Tensor
    ) -> torch.Tensor:
        heads, size = new.shape[1], new.shape[-1]
        cached = layers[layer]
        if cached is None:
            cached = layers[layer] = self._zeros(heads, size)
        columns = self._columns_of(heads)
        cached.view(-1, size).index_copy_(0, columns, new.reshape(-1, size).to(self._dtype))
        return cached

    def _columns_of(self, heads: int) -> torch.Tensor:
        """Where this step's keys and values go in a layer's cache seen flat, (slots * heads,)."""
        if heads not in self._written:
            rows = self._row * heads + torch.arange(heads, device=self._device)
            self._written[heads] = (rows * self._page + self._column).flatten()
        return self._written[heads]

    def _zeros(self, heads: int, size: int) -> torch.Tensor:
        shape = (self._num_pages * self.num_slots, heads, self._page, size)
        if self._device.type != "cpu":
            return torch.zeros(shape, dtype=self._dtype, device=self._device)
        # Mapped, so that rows which are never needed take no memory; what malloc has kept would.
        num_bytes = math.prod(shape) * self._dtype.itemsize
        mapped = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return torch.frombuffer(mapped, dtype=self._dtype).view(shape)

    def _attend_pages(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Scores of each pool of pages, one softmax over all, and each pool's share of the sum."""
        slots, page = self.num_slots, self._page
        first = self._product(query, keys[:slots].transpose(2, 3))
        if not self._pools:
            scores = first.add_(self._mask)
            return self._product(scores.softmax(-1), values[:slots])
        # A free row of a pool reads what is the last slot's and writes to one row more, for nobody.
        scores = query.new_zeros(slots + 1, *query.shape[1:3], self._mask.shape[-1])
        scores[:slots, ..., :page] = first
        for number, (reading, writing) in enumerate(self._pools, start=1):
            held = slice(number * slots, number * slots + len(reading))
            part = self._product(query[reading], keys[held].transpose(2, 3))
            scores[..., number * page : (number + 1) * page].index_copy_(0, writing, part)
        weights = scores[:slots].add_(self._mask).softmax(-1)
        out = query.new_empty(slots + 1, *query.shape[1:3], values.shape[-1])
        out[:slots] = self._product(weights[..., :page], values[:slots])
        for number, (reading, writing) in enumerate(self._pools, start=1):
            held = slice(number * slots, number * slots + len(reading))
            part = weights[..., number * page : (number + 1) * page][reading]
            out.index_add_(0, writing, self._product(part, values[held]))
        return out[:slots]

    @staticmethod
    def _product(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        """Matrix products of the trailing dimensions; leading ones flattened without a copy."""
        product = torch.bmm(one.flatten(0, 1), two.flatten(0, 1))
        return product.view(*one.shape[:2], *product.shape[1:])

    # --- another size -----------------------------------------------------------------------

    @torch.inference_mode()
    def resize(self, kept: np.ndarray, length: int) -> None:
        """Keep only the slots `kept`, with room for documents of `length` (no less than before)."""
        row_of, old_slots = self._row_of[:, kept], self.num_slots
        old_page, old_length = self._page, self.length
        self._lay_out(len(kept), length)
        sources, targets = [], []
        for number, rows in enumerate(row_of):
            holding = np.flatnonzero(rows >= 0)  # slots that have this page
            new_rows = np.arange(len(holding))
            self._row_of[number, holding], self._slot_of[number, new_rows] = new_rows, holding
            sources.append(number * old_slots + rows[holding])
            targets.append(number * len(kept) + new_rows)
        source = torch.from_numpy(np.concatenate(sources)).to(self._device)
        target = torch.from_numpy(np.concatenate(targets)).to(self._device)
        fits = len(kept) <= old_slots and length <= old_length
        for layers in (self._keys, self._values):
            for layer, old in enumerate(layers):
                if old is not None:
                    held, heads, size = old[source], old.shape[1], old.shape[-1]
                    # What a row held before is finite, and weighs nothing behind the mask.
                    room = old[: self._num_pages * len(kept)] if fits else self._zeros(heads, size)
                    room[target, :, :old_page] = held
                    layers[layer] = room


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cache: SlotCache,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What a network of transformers calls in each layer; the cache comes with the step's call."""
    strange = [name for name in _UNSUPPORTED if options.get(name) is not None]
    if strange:
        raise ModelError(
            f"model.base: its attention layers use {', '.join(strange)}, which sampling here does "
            "not know; expected plain softmax attention, as in GPT-2 and Llama"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return cache.attend(int(module.layer_idx), query, key, value, scale), None  # type: ignore[arg-type]


AttentionInterface.register(ATTENTION, _attend)
