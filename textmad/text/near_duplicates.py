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

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rensa

from textmad.text.hashes import Hashes, HashSet, pair_hashes
from textmad.text.words import segmented

NUM_PERMUTATIONS = 128
_SEED = 1
_WORD = re.compile(r"\w+")


def shingles(text: str) -> frozenset[str]:
    """Return the word pairs of a text, or its only word, or a text without words itself.

    >>> sorted(shingles("I don't know."))
    ['don t', 'i don', 't know']
    """
    words = segmented(_WORD.findall(text.casefold()), text)
    if len(words) < 2:
        return frozenset(words or [text.strip()])
    return frozenset(map(" ".join, pairwise(words)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Compute shared elements / all elements, in [0, 1].

    >>> jaccard(frozenset("abc"), frozenset("bcd"))
    0.5
    """
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def check_threshold(threshold: float) -> None:
    """Check that a threshold is a similarity."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: {threshold}: expected more than 0 and at most 1")


def first_copies(texts: Sequence[str], threshold: float) -> npt.NDArray[np.int64]:
    """Return for each text the index of the first text that it copies; its own if there is none.

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
    """Make an index of the fewest bands that find a pair at the threshold 999 times in 1,000.

    A pair of similarity s agrees in all r rows of one of b bands with probability
    1 - (1 - s^r)^b.
    """
    for bands in (1, 2, 4, 8, 16, 32, 64, 128):
        if (1 - threshold ** (NUM_PERMUTATIONS // bands)) ** bands <= 1e-3:
            break
    return rensa.RMinHashLSH(threshold, NUM_PERMUTATIONS, bands)


# --- near-copies of given texts -------------------------------------------------------------

# Prefix filtering (Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins in data
# cleaning", 2006; with more than one shared element: Wang, Li and Feng, "Can we beat the prefix
# filtering?", 2012). Sort the n shingles of every text in one order, the rare ones first. Two texts
# of Jaccard similarity t share at least a = ceil(t n) of them, so the k-th that they share has at
# least a - k behind it: it stands among the first n - a + k of both. An index of these few finds
# every pair that shares k there, and the exact similarity decides.
#
# Only the index is held: some 80 bytes for a text of 20 words, against 4,000 for the signature,
# the bands and the set of MinHash, which also misses a pair in a thousand.
_AT_ONCE = 4096  # texts turned into shingles at once
_MAX_PAIRS = 2**22  # held at once
_SHARED = 3  # k: shingles that have to be shared among the first ones
_COUNTED_TEXTS = 2**16  # so many tell which shingles are common
_LEVEL_BITS = 6
_END = "\0"
_WORD_OR_END = re.compile(rf"\w+|{_END}")


class _Shingled(NamedTuple):
    """Texts as sets of shingles, each a number that is smaller the rarer the shingle."""

    keys: Hashes  # (num_shingles,) ascending within a text
    texts: npt.NDArray[np.int64]  # (num_shingles,) the index of its text, ascending
    sizes: npt.NDArray[np.int64]  # (num_texts,)

    def firsts(self, threshold: float) -> tuple[_Shingled, npt.NDArray[np.int64]]:
        """The first shingles of each text, and how many of them a near-copy shares."""
        overlap = np.ceil(threshold * self.sizes - 1e-9).astype(np.int64)
        shared = np.minimum(_SHARED, overlap)
        place = np.arange(len(self.keys)) - (np.cumsum(self.sizes) - self.sizes)[self.texts]
        first = place < (self.sizes - overlap + shared)[self.texts]
        keys, texts = self.keys[first], self.texts[first]
        return _Shingled(keys, texts, np.bincount(texts, minlength=len(self.sizes))), shared


class NearCopies:
    """Finds texts that are at least `threshold` similar to one of `references`.

    Args:
        references: read again and again, so a memory-mapped column will do.
        threshold: Jaccard similarity of word pairs (`near_duplicates.shingles`), above 0 and at
            most 1.

    >>> copies = NearCopies(["I like tea."], 0.8)
    >>> copies.among(["I like tea!", "You like tea."]).tolist()
    [True, False]
    """

    def __init__(self, references: Sequence[str], threshold: float) -> None:
        check_threshold(threshold)
        self._references, self._threshold = references, threshold
        self._hash_of = _WordHashes()
        self._common = self._common_shingles()
        self._reference = lru_cache(2**12)(lambda index: shingles(references[index]))
        self._keys, self._owners, self._shared = self._index()

    def among(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of `texts` are near-copies of a reference."""
        is_copy = np.zeros(len(texts), dtype=bool)
        for start in range(0, len(texts), _AT_ONCE):
            batch = texts[start : start + _AT_ONCE]
            own: dict[int, frozenset[str]] = {}
            for text, reference in self._candidates(self._shingled(batch)):
                if is_copy[start + text]:
                    continue
                if text not in own:
                    own[text] = shingles(batch[text])
                is_copy[start + text] = (
                    jaccard(own[text], self._reference(reference)) >= self._threshold
                )
        return is_copy

    def _candidates(self, batch: _Shingled) -> Iterator[tuple[int, int]]:
        """Pairs of text and reference that share enough of their first shingles."""
        if not len(self._keys):
            return
        firsts, shared = batch.firsts(self._threshold)
        begin = np.searchsorted(self._keys, firsts.keys, side="left")
        num = np.searchsorted(self._keys, firsts.keys, side="right") - begin
        for low, high in _runs(firsts.texts, num):
            total = int(num[low:high].sum())
            offset = np.cumsum(num[low:high]) - num[low:high]
            entries = np.repeat(begin[low:high] - offset, num[low:high]) + np.arange(total)
            text = np.repeat(firsts.texts[low:high], num[low:high])
            pairs, times = np.unique(
                text * len(self._shared) + self._owners[entries], return_counts=True
            )
            text, reference = np.divmod(pairs, len(self._shared))
            enough = times >= np.minimum(shared[text], self._shared[reference])
            yield from zip(text[enough].tolist(), reference[enough].tolist(), strict=True)

    def _index(self) -> tuple[Hashes, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """The references' first shingles, sorted; whose each is; how many a copy shares."""
        keys, owners, shared = [np.empty(0, np.uint64)], [np.empty(0, np.int32)], []
        sets = HashSet()
        for start in range(0, len(self._references), _AT_ONCE):
            batch = self._shingled(self._references[start : start + _AT_ONCE])
            firsts, needed = batch.firsts(self._threshold)
            # Of equal sets one is enough; a bot's message may stand there ten thousand times.
            sums = np.add.reduceat(batch.keys, np.cumsum(batch.sizes) - batch.sizes)
            is_new = sets.add(sums)[firsts.texts]
            keys.append(firsts.keys[is_new])
            owners.append((firsts.texts[is_new] + start).astype(np.int32))
            shared.append(needed.astype(np.uint8))
        joined = np.concatenate(keys)
        order = np.argsort(joined, kind="stable")
        needed_by = np.concatenate(shared) if shared else np.empty(0, np.uint8)
        return joined[order], np.concatenate(owners)[order], needed_by

    def _common_shingles(self) -> tuple[Hashes, Hashes]:
        """Shingles found more than once in the first references, sorted, and their levels."""
        counted = [
            _shingle_hashes(self._references[start : start + _AT_ONCE], self._hash_of)[0]
            for start in range(0, min(len(self._references), _COUNTED_TEXTS), _AT_ONCE)
        ]
        hashes, times = np.unique(
            np.concatenate([np.empty(0, np.uint64), *counted]), return_counts=True
        )
        common, times = hashes[times > 1], times[times > 1]
        return common, np.frexp(times)[1].astype(np.uint64)  # the number of its binary digits

    def _shingled(self, texts: Sequence[str]) -> _Shingled:
        """The texts' sets of shingles, the rare ones first."""
        hashes, owners = _shingle_hashes(texts, self._hash_of)
        common, levels = self._common
        level = np.zeros(len(hashes), np.uint64)
        if len(common):
            at = np.minimum(np.searchsorted(common, hashes), len(common) - 1)
            level = np.where(common[at] == hashes, levels[at], level)
        keys = (level << np.uint64(64 - _LEVEL_BITS)) | (hashes >> np.uint64(_LEVEL_BITS))
        order = np.lexsort((keys, owners))
        keys, owners = keys[order], owners[order]
        again = np.zeros(len(keys), dtype=bool)
        again[1:] = (keys[1:] == keys[:-1]) & (owners[1:] == owners[:-1])
        keys, owners = keys[~again], owners[~again]
        return _Shingled(keys, owners, np.bincount(owners, minlength=len(texts)))


class _WordHashes(dict[str, int]):
    """64-bit hashes of words, computed when first asked for; bounded in number."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 2**18:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self[word] = int.from_bytes(digest, "little")
        return self[word]


def _shingle_hashes(
    texts: Sequence[str], hash_of: _WordHashes
) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hashes of all shingles of all texts, repeats included, and the index of each one's text."""
    joined = "".join(text.replace(_END, " ") + _END for text in texts)
    words_and_ends = segmented(_WORD_OR_END.findall(joined.casefold()), joined)
    words = np.fromiter(map(hash_of.__getitem__, words_and_ends), np.uint64, len(words_and_ends))
    is_end = words == np.uint64(hash_of[_END])
    owners = (np.cumsum(is_end) - is_end)[~is_end]
    words = words[~is_end]
    inside = owners[1:] == owners[:-1]
    pairs = pair_hashes(words[:-1], words[1:])[inside]
    # A text of one word is that word, one of none itself.
    lengths = np.bincount(owners, minlength=len(texts))
    alone = np.flatnonzero(lengths < 2)
    single = [hash_of[" ".join(shingles(texts[index]))] for index in alone.tolist()]
    return (
        np.concatenate([pairs, np.array(single, np.uint64)]),
        np.concatenate([owners[1:][inside], alone]),
    )


def _runs(texts: npt.NDArray[np.int64], num: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Stretches of whole texts with at most `_MAX_PAIRS` pairs in all, or of a single text."""
    total = np.concatenate([[0], np.cumsum(num)])
    ends = np.append(np.flatnonzero(texts[1:] != texts[:-1]) + 1, len(texts))
    low = 0
    while low < len(texts):
        # The last end that keeps the bound, or the first one behind `low`.
        within = np.searchsorted(total[ends], total[low] + _MAX_PAIRS, side="right") - 1
        high = int(ends[max(within, np.searchsorted(ends, low, side="right"))])
        yield low, high
        low = high
