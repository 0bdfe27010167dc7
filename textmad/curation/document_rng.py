"""Random numbers that belong to documents rather than to positions in a list.

Each document has its own SplitMix64 stream (Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", OOPSLA 2014), whose start is a keyed hash of its id. One numpy generator a
document would be the same thing, a hundred times slower. The i-th number of a stream is computed
from its start alone, so documents may be taken in any order and in pieces of any size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Starts = npt.NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15


def document_uniforms(
    ids: Sequence[str], rng: np.random.Generator, num_draws: int
) -> Iterator[Floats]:
    """Yield `num_draws` arrays `(documents,)` of uniform numbers in (0, 1).

    A document's numbers depend only on `rng` and on its id, not on the order of the documents
    or on the other documents. Draws one number from `rng`, when the first array is taken.

    >>> rngs = [np.random.default_rng(0) for _ in range(2)]
    >>> (forward,) = document_uniforms(["a", "b"], rngs[0], 1)
    >>> (backward,) = document_uniforms(["b", "a"], rngs[1], 1)
    >>> bool((forward == backward[::-1]).all())
    True
    """
    starts = document_starts(ids, rng)
    yield from (uniforms(starts, index) for index in range(num_draws))


def document_starts(ids: Sequence[str], rng: np.random.Generator) -> Starts:
    """Return the start of each document's stream, `(documents,)`; draws one number from `rng`."""
    key = rng.bytes(16)
    digests = b"".join(
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
        for name in ids
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def other_starts(starts: Starts, rng: np.random.Generator) -> Starts:
    """Return starts of other, independent streams; draws one number from `rng`."""
    return _mix(starts ^ rng.integers(2**64, dtype=np.uint64))


def uniforms(starts: Starts, index: int) -> Floats:
    """Return the number at position `index` of each stream, `(documents,)`, in (0, 1)."""
    # Arrays of uint64 wrap around, which the sum of two Python numbers would not.
    state = starts + np.uint64((index + 1) * _STEP % 2**64)
    # The upper 53 bits, and a half so that neither 0 nor 1 is ever drawn.
    numbers = (_mix(state) >> np.uint64(11)).astype(np.float64)
    numbers += 0.5
    numbers *= 2.0**-53
    return numbers


def _mix(state: Starts) -> Starts:
    """Return SplitMix64's output function of `state`, which is not changed."""
    mixed = state >> np.uint64(30)
    for factor, shift in ((0xBF58476D1CE4E5B9, 27), (0x94D049BB133111EB, 31)):
        mixed ^= state
        mixed *= np.uint64(factor)
        state = mixed
        mixed = state >> np.uint64(shift)
    mixed ^= state
    return mixed
