"""Measures of lexical diversity, each a pure function of integer-coded words.

Values below the size on which a measure is defined are NaN.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import numpy as np

from textmad.text.words import Words, code_words, ngrams

ZIPF_RANKS = 5000
_AT_ONCE = 4096  # texts packed at once


def distinct(ids: np.ndarray) -> float:
    """Compute distinct n-grams / n-grams (Li et al. 2016, 1510.03055), in (0, 1].

    It falls as a text grows, so it is compared at equal length only. `ids` are n-grams as
    `words.ngrams` numbers them.

    >>> distinct(np.array([0, 1, 0, 1]))
    0.5
    """
    return len(_counts(ids)) / len(ids) if len(ids) else np.nan


def entropy_bits(ids: np.ndarray) -> float:
    """Compute the Shannon entropy of the n-grams' frequencies, in bits; the plug-in estimate.

    >>> entropy_bits(np.array([0, 1, 2, 3]))
    2.0
    """
    if not len(ids):
        return np.nan
    shares = _counts(ids) / len(ids)
    return float(abs(np.sum(shares * np.log2(shares))))  # abs: -0.0 is no entropy


def previous(codes: np.ndarray) -> np.ndarray:
    """Return the position of each word's previous occurrence, -1 where it is new.

    >>> previous(np.array([0, 1, 0])).tolist()
    [-1, -1, 0]
    """
    order = np.argsort(codes, kind="stable")
    again = codes[order[1:]] == codes[order[:-1]]
    last = np.full(len(codes), -1, np.int64)
    last[order[1:][again]] = order[:-1][again]
    return last


def mattr(codes: np.ndarray, window: int = 50, last: np.ndarray | None = None) -> float:
    """Compute the mean type-token ratio of all windows of words (Covington and McFall 2010).

    Windows run across the borders of documents, since posts are shorter than windows. `last` is
    `previous(codes)` where it is known already.

    >>> mattr(np.array([0, 0, 1]), window=2)
    0.75
    """
    num_windows = len(codes) - window + 1
    if num_windows < 1:
        return np.nan
    # A word adds a type to those windows that hold it but not its previous occurrence.
    position = np.arange(len(codes))
    begin = np.maximum(_known(codes, last) + 1, position - window + 1).clip(0)
    end = np.minimum(position, num_windows - 1)
    return float(np.sum(np.maximum(end - begin + 1, 0)) / (window * num_windows))


def mtld(codes: np.ndarray, threshold: float = 0.72, last: np.ndarray | None = None) -> float:
    """Compute the mean length in words of stretches with a type-token ratio above `threshold`.

    The mean of the forward and the backward reading, with the partial factor at the end
    (McCarthy and Jarvis 2010). NaN where no word is ever repeated. `last` as in `mattr`.
    """
    last = _known(codes, last)
    again = last >= 0
    backward = np.full(len(codes), -1, np.int64)  # previous(codes[::-1])
    backward[len(codes) - 1 - last[again]] = len(codes) - 1 - np.flatnonzero(again)
    factors = [_num_factors(reading, threshold) for reading in (last, backward)]
    if min(factors) == 0:
        return np.nan
    return float(np.mean([len(codes) / number for number in factors]))


def _num_factors(last: np.ndarray, threshold: float) -> float:
    factors, start, width = 0.0, 0, 256
    counted = np.arange(1, width + 1)
    while start < len(last):
        if width > len(counted):
            counted = np.arange(1, width + 1)
        types = np.cumsum(last[start : start + width] < start)
        ratio = types / counted[: len(types)]
        low = ratio <= threshold
        reached = int(low.argmax())
        if low[reached]:
            factors, start, width = factors + 1, start + reached + 1, 256
        elif start + width < len(last):
            width *= 2
        else:
            return float(factors + (1 - ratio[-1]) / (1 - threshold))
    return factors


def hdd(codes: np.ndarray, sample: int = 42) -> float:
    """Compute the expected type-token ratio of `sample` words drawn at random, in (0, 1].

    HD-D (McCarthy and Jarvis 2007): a type that occurs f times among N words is missed with
    probability C(N - f, sample) / C(N, sample).

    >>> hdd(np.arange(42))
    1.0
    """
    if len(codes) < sample:
        return np.nan
    frequency, num_types = np.unique(_counts(codes), return_counts=True)
    left = len(codes) - np.arange(sample)
    missed = np.prod(np.maximum(left - frequency[:, None], 0) / left, axis=1)
    return float(np.sum(num_types * (1 - missed)) / sample)


def zipf_exponent(codes: np.ndarray) -> float:
    """Fit the exponent s of frequency ~ rank^-s by least squares on the logarithms.

    Over the 5,000 most frequent words, as Holtzman et al. 2020 (1904.09751) fit it. The fit
    describes a text beside another of equal length; it does not test the law.

    >>> round(zipf_exponent(np.repeat([0, 1, 2], [6, 3, 2])), 6)
    1.0
    """
    counts = np.sort(_counts(codes))[::-1][:ZIPF_RANKS]
    return -_slope(np.log(np.arange(1, len(counts) + 1)), np.log(counts))


def heaps_exponent(codes: np.ndarray, last: np.ndarray | None = None) -> float:
    """Fit the exponent b of vocabulary ~ words^b (Heaps 1978) by least squares on the logarithms.

    Fitted at 50 sizes, spaced evenly in the logarithm, from a hundredth of the text to all of it:
    the very first words are nearly all new in any text. In [0, 1]. `last` as in `mattr`.

    >>> round(heaps_exponent(np.arange(200)), 6)
    1.0
    """
    if len(codes) < 2:
        return np.nan
    vocabulary = np.cumsum(_known(codes, last) < 0)
    sizes = np.unique(np.geomspace(max(len(codes) / 100, 1), len(codes), 50).round().astype(int))
    return _slope(np.log(sizes), np.log(vocabulary[sizes - 1]))


def compression_ratio(texts: Sequence[str]) -> float:
    """Compute UTF-8 bytes / bytes after zlib (level 6): high if repetitive (2403.00553).

    zlib looks back 32 kB, so repetition across a longer distance goes to other metrics.

    >>> compression_ratio(["I don't know. " * 50]) > 10
    True
    """
    packer, num_bytes, num_packed = zlib.compressobj(6), 0, 0
    for start in range(0, len(texts), _AT_ONCE):
        data = "\n".join(texts[start : start + _AT_ONCE]).encode("utf-8", "surrogatepass")
        data = b"\n" + data if start else data
        num_bytes += len(data)
        num_packed += len(packer.compress(data))
    return num_bytes / (num_packed + len(packer.flush())) if num_bytes else np.nan


def repeated_share(texts: Sequence[str], words: Words | None = None) -> float:
    """Compute the share of documents with the words of an earlier one, in order; in [0, 1).

    `words` is `code_words(texts)`, or of more texts behind them, where it is known already.

    >>> repeated_share(["Hi there", "hi there!", "bye"]) == 1 / 3
    True
    """
    if not texts:
        return np.nan
    words = code_words(texts) if words is None else words
    ends = np.searchsorted(words.documents, np.arange(len(texts)), side="right").tolist()
    codes = words.codes.data
    different, without_words, start = set(), set(), 0
    for text, end in zip(texts, ends, strict=True):
        if start == end:
            without_words.add(text.strip())
        else:
            different.add(hashlib.blake2b(codes[start:end], digest_size=16).digest())
        start = end
    return (len(texts) - len(different) - len(without_words)) / len(texts)


def overlap(texts: Sequence[str], reference: Sequence[str], n: int = 13) -> float:
    """Compute the share of the texts' n-grams that stand in some reference text; in [0, 1].

    >>> overlap(["a b c d"], ["x a b c"], n=2) == 2 / 3
    True
    """
    return overlaps(texts, reference, [np.ones(len(reference), dtype=bool)], n)[0]


def overlaps(
    texts: Sequence[str], reference: Sequence[str], parts: Sequence[np.ndarray], n: int
) -> list[float]:
    """`overlap` with each part of the reference: masks `(reference texts,)` of what is in it."""
    words = code_words([*texts, *reference])
    shares, _ = FoundNgrams(words, len(texts), parts, n).shares(np.arange(len(texts)))
    return shares


class FoundNgrams:
    """Which n-grams of a corpus's first documents stand verbatim in its other ones.

    Args:
        words: of all documents.
        num_documents: how many are asked about; those behind them are the reference.
        parts: masks `(reference documents,)`: of what is in each part of the reference.
        n: words in an n-gram.
    """

    def __init__(
        self, words: Words, num_documents: int, parts: Sequence[np.ndarray], n: int
    ) -> None:
        ids, documents = ngrams(words, n)
        num_own = int(np.searchsorted(documents, num_documents))
        own, reference = ids[:num_own], ids[num_own:]
        owners = documents[num_own:] - num_documents
        self._n = n
        self._lengths = np.bincount(words.documents, minlength=num_documents)[:num_documents]
        self._begin = np.searchsorted(documents, np.arange(num_documents))
        self._is_there = [bool(part.any()) for part in parts]
        # (parts, n-grams + 1): how many of the n-grams before each one are found.
        self._found = np.zeros((len(parts), num_own + 1), np.int64)
        for row, part in zip(self._found, parts, strict=True):
            np.cumsum(np.isin(own, reference[part[owners]]), out=row[1:])

    def shares(self, rows: np.ndarray, num_words: int | None = None) -> tuple[list[float], int]:
        """Return the share found in each part of the reference, and the number of n-grams.

        Args:
            rows: indices of the documents asked about.
            num_words: of them in this order; the last document is cut short. None: all.

        Returns:
            NaN for an empty part, and where no document has an n-gram.
        """
        kept = self._lengths[rows]
        if num_words is not None:
            kept = np.minimum(kept, (num_words - (np.cumsum(kept) - kept)).clip(0))
        num = (kept - self._n + 1).clip(0)
        begin, total = self._begin[rows], int(num.sum())
        counts = (self._found[:, begin + num] - self._found[:, begin]).sum(axis=1)
        return [
            float(count / total) if total and is_there else np.nan
            for count, is_there in zip(counts, self._is_there, strict=True)
        ], total


def _known(codes: np.ndarray, last: np.ndarray | None) -> np.ndarray:
    return previous(codes) if last is None else last


def _counts(ids: np.ndarray) -> np.ndarray:
    """Count how often each number occurs, by ascending number."""
    if ids.max(initial=0) < 4 * len(ids):  # dense, so counted without sorting
        counts = np.bincount(ids)
        return counts[counts > 0]
    return np.unique(ids, return_counts=True)[1]


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """The least-squares slope of y over x."""
    if len(x) < 2:
        return np.nan
    return float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
