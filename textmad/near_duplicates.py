"""Near-duplicate texts: MinHash finds the candidates, the exact Jaccard similarity decides.

A text is the set of its word pairs, lower-cased and without punctuation. Pairs rather than the
usual five words: a post has some 25 words, and one changed word leaves a similarity of
22 / 26 = 0.85 by pairs but of 16 / 26 = 0.62 by fives.

MinHash: Broder, "On the resemblance and containment of documents" (1997); banding: Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4. The numbers of bands are such
that a pair exactly at the threshold is missed less than once in a thousand times; no pair below
the threshold is ever reported. The same texts give the same answer on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import rensa

NUM_PERMUTATIONS = 128
_SEED = 1
_WORD = re.compile(r"\w+")


def shingles(text: str) -> frozenset[str]:
    """The word pairs of a text; its one word, or without words the text itself, otherwise.

    >>> sorted(shingles("I don't know."))
    ['don t', 'i don', 't know']
    """
    words = _WORD.findall(text.casefold())
    if len(words) < 2:
        return frozenset(words or [text.strip()])
    return frozenset(map(" ".join, pairwise(words)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared elements by all elements, in [0, 1].

    >>> jaccard(frozenset("abc"), frozenset("bcd"))
    0.5
    """
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that is no similarity."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: {threshold}: expected more than 0 and at most 1")


def first_copies(texts: Sequence[str], threshold: float) -> npt.NDArray[np.int64]:
    """For each text the index of the first text that it copies; its own index if of none.

    Texts are taken in order, and each is compared with those before it that are no copies
    themselves, so a chain of small changes is not one cluster: whatever is named a copy is at
    least `threshold` similar to the text it is said to copy.

    Args:
        texts: in any language; equal texts are copies at any threshold.
        threshold: Jaccard similarity, above 0 and at most 1.

    >>> first_copies(["Where do you live?", "I like tea.", "where do you live"], 0.8).tolist()
    [0, 1, 0]
    """
    check_threshold(threshold)
    sets = [shingles(text) for text in texts]
    signatures = _signatures(sets)
    index = _index(threshold)
    first = np.arange(len(texts), dtype=np.int64)
    seen: dict[frozenset[str], int] = {}
    for i, own in enumerate(sets):
        # Equal sets need no search; there may be thousands of them when a model has collapsed.
        if own in seen:
            first[i] = first[seen[own]]
            continue
        seen[own] = i
        for j in sorted(index.query(signatures[i])):
            if jaccard(own, sets[j]) >= threshold:
                first[i] = j
                break
        else:
            index.insert(i, signatures[i])
    return first


def _signatures(sets: Sequence[frozenset[str]]) -> list[rensa.RMinHash]:
    return list(rensa.RMinHash.from_token_sets([list(s) for s in sets], NUM_PERMUTATIONS, _SEED))


def _index(threshold: float) -> rensa.RMinHashLSH:
    """An index of the fewest bands that find a pair at the threshold 999 times in 1,000.

    A pair of similarity s agrees in all r rows of one of b bands with probability
    1 - (1 - s^r)^b.
    """
    for bands in (1, 2, 4, 8, 16, 32, 64, 128):
        if (1 - threshold ** (NUM_PERMUTATIONS // bands)) ** bands <= 1e-3:
            break
    return rensa.RMinHashLSH(threshold, NUM_PERMUTATIONS, bands)
