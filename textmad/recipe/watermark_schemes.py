"""The two watermarks, as transformers has them: what sampling and detection have to agree on.

A watermark makes a secret function of a token, the tokens before it and a key likelier to be 1 in
sampled text than in any other. Green list: Kirchenbauer et al., "A Watermark for Large Language
Models" (2301.10226). SynthID: Dathathri et al., "Scalable watermarking for identifying large
language model outputs" (Nature 634, 2024). Both functions are bit for bit those of transformers'
`WatermarkLogitsProcessor` and `SynthIDTextWatermarkLogitsProcessor` on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from textmad.seeds import stream

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]

LARGEST_KEY = 2**63 - 1
MOST_LAYERS = 1000
SETTINGS = {  # which kind each is of
    "bias": "green_list",
    "green_share": "green_list",
    "depth": "synthid",
    "context": "synthid",
}

# SynthID: newlib's and musl's linear congruential generator, and transformers' sampling table.
_MULTIPLIER = 6364136223846793005
_TABLE_SIZE = 2**16
_TABLE_SEED = 0


class GreenLists:
    """Which tokens are green after which (2301.10226, algorithm 2; transformers' "lefthash").

    After token t, the first `green_share` of a permutation of the vocabulary that is seeded with
    key * t. (So after token 0 the list is the same for every key.) Lists are generated on first use
    and kept with one bit a token: 2 MB for all lists of 4,096 tokens, 300 MB for 49,152.
    """

    def __init__(self, key: int, green_share: float, vocabulary: int) -> None:
        self._key, self._vocabulary = key, vocabulary
        self._num_green = int(vocabulary * green_share)
        # numpy's zeros take no memory before they are written.
        self._bits = np.zeros((vocabulary, -(-vocabulary // 8)), np.uint8)
        self._known = np.zeros(vocabulary, bool)

    def after(self, before: Ints) -> Bits:
        """The lists after each of these tokens, (tokens, vocabulary / 8); the lowest bit first."""
        unknown = np.unique(before[~self._known[before]])
        if len(unknown):
            self._draw(unknown)
        lists: Bits = self._bits[before]
        return lists

    def is_green(self, before: Ints, tokens: Ints) -> npt.NDArray[np.bool_]:
        """Whether each token is on the list after the one before it."""
        self.after(np.unique(before))
        return (self._bits[before, tokens // 8] >> (tokens % 8).astype(np.uint8) & 1).astype(bool)

    def _draw(self, before: Ints) -> None:
        import torch

        generator = torch.Generator()
        is_green = np.zeros(self._vocabulary, bool)
        for token in before.tolist():
            generator.manual_seed(self._key * token % (2**64 - 1))
            permutation = torch.randperm(self._vocabulary, generator=generator).numpy()
            is_green[:] = False
            is_green[permutation[: self._num_green]] = True
            self._bits[token] = np.packbits(is_green, bitorder="little")
        self._known[before] = True


@lru_cache(maxsize=2)
def green_lists(key: int, green_share: float, vocabulary: int) -> GreenLists:
    """The lists of a key, shared by all generations of a run."""
    return GreenLists(key, green_share, vocabulary)


class Tournament:
    """The g-values of SynthID: a bit for each layer, of a token and the `context` tokens before it.

    transformers hashes context, token and the layer's key with a linear congruential generator and
    looks up the lowest 16 bits in a table of random bits. These are M² (c + t + s) modulo 2**16: M
    is the generator's odd multiplier, c the context's hash, t the token and s a number of the key's
    own. With its entries in the order of that sum, the table holds the g-values of all tokens, one
    after the other, from c + s on: no hash and no look-up for each.

    Attributes:
        context: tokens.
        keys: of the layers, as transformers' `SynthIDTextWatermarkingConfig` takes them.
        shifts: (depth,) the layers' s.
        table: (2**16,) of 0 and 1.
    """

    def __init__(self, key: int, depth: int, context: int) -> None:
        import torch

        self.context = context
        # Modulo 2**16, which is all that counts of them; no two alike, or a layer would be twice.
        self.keys: list[int] = stream(key, "synthid").permutation(_TABLE_SIZE)[:depth].tolist()
        inverse = pow(_MULTIPLIER, -1, _TABLE_SIZE)
        self.shifts: Ints = (np.array(self.keys) + 1 + inverse) * inverse % _TABLE_SIZE
        generator = torch.Generator().manual_seed(_TABLE_SEED)
        looked_up = torch.randint(0, 2, (_TABLE_SIZE,), generator=generator).numpy()
        square = pow(_MULTIPLIER, 2, _TABLE_SIZE)
        self.table: Ints = looked_up[np.arange(_TABLE_SIZE) * square % _TABLE_SIZE]

    def g_values(self, hashes: Ints, tokens: Ints) -> Iterator[Ints]:
        """For each layer those of the tokens, (tokens,), after the contexts with these hashes."""
        for shift in self.shifts:
            yield self.table[begins(hashes, shift) + tokens & _TABLE_SIZE - 1]


def begins(hashes: Any, shift: Any) -> Any:
    """Where in a tournament's table the g-values after each context begin, array or tensor."""
    return hashes + shift & _TABLE_SIZE - 1


def context_hashes(contexts: Any) -> Any:
    """A hash of each context, (..., context) -> (...), int64, of an array or a tensor alike."""
    hashes = contexts[..., 0] * 0 + 1
    for index in range(contexts.shape[-1]):
        hashes = (hashes + contexts[..., index]) * _MULTIPLIER + 1
    return hashes
