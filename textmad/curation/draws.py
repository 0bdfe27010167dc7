"""Random numbers that belong to documents rather than to places in a list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt


def document_uniforms(
    ids: Sequence[str], rng: np.random.Generator, num_draws: int
) -> Iterator[npt.NDArray[np.float64]]:
    """`num_draws` arrays `(documents,)` of uniform numbers in (0, 1), one at a time.

    A document's numbers depend on `rng` and on its id alone, so neither the order of the
    documents nor which others there are changes them: a vote stays the same vote. Takes one
    number from `rng`, when the first array is asked for.

    Each document has its own SplitMix64 stream (Steele, Lea and Flood, "Fast splittable
    pseudorandom number generators", OOPSLA 2014), whose start is a keyed hash of its id. One
    numpy generator a document would be the same thing, a hundred times slower.

    >>> rngs = [np.random.default_rng(0) for _ in range(2)]
    >>> (forward,) = document_uniforms(["a", "b"], rngs[0], 1)
    >>> (backward,) = document_uniforms(["b", "a"], rngs[1], 1)
    >>> bool((forward == backward[::-1]).all())
    True
    """
    key = rng.bytes(16)
    digests = b"".join(
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
        for name in ids
    )
    state = np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    for _ in range(num_draws):
        state = state + np.uint64(0x9E3779B97F4A7C15)  # arrays of uint64 wrap around
        # The upper 53 bits, and a half so that neither 0 nor 1 is ever drawn.
        yield ((_mixed(state) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
