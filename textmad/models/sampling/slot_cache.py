"""The key-value cache of the documents in flight, allocated once, and attention over it.

Column p of a slot belongs to position p of its document. Columns are grouped in pages:

- On CPU a page has 32 columns, and a slot has only as many pages as its document needs. Attention
  reads only these, so a short document beside long ones costs no more than alone, and nothing is
  copied. Pages with the same number lie side by side in a pool, so attention over all slots is one
  dense matrix product for each pool.
- On a GPU the addresses in a captured step may not change. So a slot has all its columns in one
  page, and a mask hides those after the position.

A layer's keys are one array of shape (pages * slots, heads, page, size): row `p * slots + r` is row
r of pool p. Values likewise.
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
_PAGE = 32  # columns. A larger page wastes more of a slot's last one; each costs two products
_BUCKET = 64  # columns of a whole row are a multiple of it, which fast attention kernels need
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")  # what some models add to plain attention


class SlotCache:
    """A cache with room for `num_slots` documents of up to `length` fed tokens each."""

    def __init__(self, network: PreTrainedModel, num_slots: int, length: int, *, paged: bool):
        self._device, self._dtype = network.device, network.dtype
        self._num_layers = int(network.config.num_hidden_layers)
        self._paged = paged
        self._pools: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._keys: list[torch.Tensor | None] = [None] * self._num_layers
        self._values: list[torch.Tensor | None] = [None] * self._num_layers
        self._lay_out(num_slots, length)

    def _lay_out(self, num_slots: int, length: int) -> None:
        """Divide the columns into pages, and give each slot its first page."""
        self.num_slots = num_slots
        self._page = _PAGE if self._paged else -(-length // _BUCKET) * _BUCKET
        self._num_pages = -(-length // self._page)
        self.length = self._page * self._num_pages
        # (pages, slots): the row of pool p in which a slot has its page p; -1: it has no such page.
        self._row_of = np.full((self._num_pages, num_slots), -1)
        # (pages, rows): the slot that a row of pool p belongs to; num_slots: the row is free.
        self._slot_of = np.full((self._num_pages, num_slots), num_slots)
        self._row_of[0] = self._slot_of[0] = np.arange(num_slots)  # slots keep their first page
        self._first_rows = torch.arange(num_slots, device=self._device)
        self._columns = torch.arange(self.length, device=self._device)

    # --- each step --------------------------------------------------------------------------

    def point(self, position: torch.Tensor) -> None:
        """Prepare a step that writes at `position` (slots,) and attends to it and all before."""
        if self._paged:
            page = position // self._page
            row = torch.from_numpy(self._turn_pages(page.numpy())) + page * self.num_slots
            num_columns = (int(page.max()) + 1) * self._page
            column = position - page * self._page
        else:
            row, column, num_columns = self._first_rows, position, self.length
        self._row, self._column = row.unsqueeze(1), column.unsqueeze(1)
        self._written: dict[int, torch.Tensor] = {}  # `_columns_of`, by number of key heads
        behind = self._columns[:num_columns] > position.unsqueeze(1)  # (slots, columns)
        mask = torch.zeros(behind.shape, dtype=self._dtype, device=self._device)
        self._mask = mask.masked_fill_(behind, -torch.inf).view(self.num_slots, 1, 1, num_columns)

    def _turn_pages(self, page: np.ndarray) -> np.ndarray:
        """Give each slot its pages up to `page` (slots,), and return its row in that pool.

        Sets `_pools`: for each pool after the first that is in use, the slot of each row, up to the
        last row in use. It is there twice, with two meanings of a free row (`_attend_pages`).
        """
        self._pools = []
        for number in range(1, self._num_pages):
            row_of, slot_of = self._row_of[number], self._slot_of[number]
            # A new document has begun in these slots, and does not reach this page yet.
            dropped = (row_of >= 0) & (page < number)
            slot_of[row_of[dropped]] = self.num_slots
            row_of[dropped] = -1
            # These reach it now, and get the first free rows.
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
        """Store this step's column of a layer, and attend to all columns so far.

        Args:
            layer: its number.
            query: (slots, query heads, 1, size).
            key: (slots, key heads, 1, size); `value` likewise.
            value: see `key`.
            scale: factor of the products of queries and keys.

        Returns:
            (slots, 1, query heads, size).
        """
        keys = self._write(self._keys, layer, key)
        values = self._write(self._values, layer, value)
        # Query heads that share a key head take the place of further query positions, so keys and
        # values are not repeated: (slots, key heads, query heads per key head, size).
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
        """Store `new` (slots, heads, 1, size) at this step's columns, and return the layer."""
        heads, size = new.shape[1], new.shape[-1]
        cached = layers[layer]
        if cached is None:
            cached = layers[layer] = self._zeros(heads, size)
        columns = self._columns_of(heads)
        cached.view(-1, size).index_copy_(0, columns, new.reshape(-1, size).to(self._dtype))
        return cached

    def _columns_of(self, heads: int) -> torch.Tensor:
        """Return this step's places in a layer seen as (columns, size): (slots * heads,)."""
        if heads not in self._written:
            rows = self._row * heads + torch.arange(heads, device=self._device)
            self._written[heads] = (rows * self._page + self._column).flatten()
        return self._written[heads]

    def _zeros(self, heads: int, size: int) -> torch.Tensor:
        shape = (self._num_pages * self.num_slots, heads, self._page, size)
        if self._device.type != "cpu":
            return torch.zeros(shape, dtype=self._dtype, device=self._device)
        # Mapped memory is taken only when it is written to, so unused rows cost nothing.
        num_bytes = math.prod(shape) * self._dtype.itemsize
        mapped = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return torch.frombuffer(mapped, dtype=self._dtype).view(shape)

    def _attend_pages(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Attend: scores by pool, one softmax over all columns, and the sum of the pools' values.

        Args:
            query: (slots, heads, queries, size), scaled.
            keys: (pages * slots, heads, page, size); `values` likewise.
            values: see `keys`.

        Returns:
            (slots, heads, queries, size).
        """
        slots, page = self.num_slots, self._page
        first = self._product(query, keys[:slots].transpose(2, 3))
        if not self._pools:
            scores = first.add_(self._mask)
            return self._product(scores.softmax(-1), values[:slots])
        # 1. Scores, (slots + 1, heads, queries, columns). A free row of a pool reads the query of
        # the last slot, and writes to the additional last row, which is not used.
        scores = query.new_zeros(slots + 1, *query.shape[1:3], self._mask.shape[-1])
        scores[:slots, ..., :page] = first
        for number, (reading, writing) in enumerate(self._pools, start=1):
            held = slice(number * slots, number * slots + len(reading))
            part = self._product(query[reading], keys[held].transpose(2, 3))
            scores[..., number * page : (number + 1) * page].index_copy_(0, writing, part)
        # 2. Weights over all columns.
        weights = scores[:slots].add_(self._mask).softmax(-1)
        # 3. The weighted values, added up over the pools.
        out = query.new_empty(slots + 1, *query.shape[1:3], values.shape[-1])
        out[:slots] = self._product(weights[..., :page], values[:slots])
        for number, (reading, writing) in enumerate(self._pools, start=1):
            held = slice(number * slots, number * slots + len(reading))
            part = weights[..., number * page : (number + 1) * page][reading]
            out.index_add_(0, writing, self._product(part, values[held]))
        return out[:slots]

    @staticmethod
    def _product(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        """Multiply (a, b, m, n) by (a, b, n, k) without copies, and return (a, b, m, k)."""
        product = torch.bmm(one.flatten(0, 1), two.flatten(0, 1))
        return product.view(*one.shape[:2], *product.shape[1:])

    # --- another size -----------------------------------------------------------------------

    @torch.inference_mode()
    def resize(self, kept: np.ndarray, length: int) -> None:
        """Keep only the slots `kept`, with room for documents of `length`, at least as before."""
        row_of, old_slots = self._row_of[:, kept], self.num_slots
        old_page, old_length = self._page, self.length
        self._lay_out(len(kept), length)
        # The pages that are kept move to the first rows of their pools.
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
                    # Old numbers in a reused row do no harm: they are finite, and masked.
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
    """Attend through the cache: transformers calls this in each layer of the network."""
    unsupported = [name for name in _UNSUPPORTED if options.get(name) is not None]
    if unsupported:
        raise ModelError(
            f"model.base: its attention layers use {', '.join(unsupported)}, which sampling here "
            "does not know; expected plain softmax attention, as in GPT-2 and Llama"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return cache.attend(int(module.layer_idx), query, key, value, scale), None  # type: ignore[arg-type]


AttentionInterface.register(ATTENTION, _attend)
