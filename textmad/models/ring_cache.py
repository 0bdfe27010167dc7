"""A key-value cache of fixed size that all slots write in step, as a ring.

At step t every slot writes column t mod length, whatever its own position: one plain write, no
scatter. Which columns belong to a slot's present document is its mask's business; a
document is never longer than the ring, so a column is overwritten only after its use.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class RingCache(Cache):  # type: ignore[misc]
    """The cache of one model: `length` columns for each slot, allocated once.

    `width` columns hold something; attention runs over these alone.
    """

    def __init__(self, num_layers: int, length: int) -> None:
        self.length = length
        self.step = 0
        super().__init__(layers=[_RingLayer(self) for _ in range(num_layers)])

    @property
    def column(self) -> int:
        """Where this step is written."""
        return self.step % self.length

    @property
    def width(self) -> int:
        """Columns in use, this step's included."""
        return min(self.step + 1, self.length)

    def order(self) -> torch.Tensor:
        """The columns of all past steps that are still there, oldest first."""
        return torch.arange(max(0, self.step - self.length), self.step) % self.length

    def move(self, rows: torch.Tensor, length: int) -> None:
        """Keep only the slots `rows`, in a ring of `length` (not shorter than before)."""
        order = self.order()
        for layer in self.layers:
            layer.move(rows, order, length)
        self.length, self.step = length, len(order)


class _RingLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, (slots, heads, length, head size)."""

    is_sliding = False

    def __init__(self, ring: RingCache) -> None:
        super().__init__()
        self.ring = ring
        self.keys: torch.Tensor
        self.values: torch.Tensor

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        slots, heads, _, size = key_states.shape
        self.keys = key_states.new_zeros(slots, heads, self.ring.length, size)
        self.values = value_states.new_zeros(slots, heads, self.ring.length, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write this step's column in place; views of the columns in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        column, width = self.ring.column, self.ring.width
        self.keys[:, :, column] = key_states[:, :, 0]
        self.values[:, :, column] = value_states[:, :, 0]
        return self.keys[:, :, :width], self.values[:, :, :width]

    def move(self, rows: torch.Tensor, order: torch.Tensor, length: int) -> None:
        """As `RingCache.move`."""
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(len(rows), old.shape[1], length, old.shape[3])
            at = order.to(old.device)
            new[:, :, : len(order)] = old[rows.to(old.device)][:, :, at]
            setattr(self, name, new)

    def get_seq_length(self) -> int:
        return self.ring.step

    def get_max_length(self) -> int:
        return self.ring.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.ring.width, 0
