"""Measures of lexical diversity, each a pure function of integer-coded words.

Values below the size on which a measure is defined are NaN.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from textmad.evaluators.words import code_words, ngrams, words_of

ZIPF_RANKS = 5000


def distinct(ids: np.ndarray) -> float:
    """Distinct n-grams / n-grams (Li et al. 2016, 1510.03055), in (0, 1].

    It falls as a text grows, so it is compared at equal length only. `ids` are n-grams as
    `words.ngrams` numbers them.

    >>> distinct(np.array([0, 1, 0, 1]))
    0.5
    """
    return int(np.count_nonzero(np.bincount(ids))) / len(ids) if len(ids) else np.nan


def entropy_bits(ids: np.ndarray) -> float:
    """Shannon entropy of the n-grams' relative frequencies, in bits; the plug-in estimate.

    >>> entropy_bits(np.array([0, 1, 2, 3]))
    2.0
    """
    if not len(ids):
        return np.nan
    counts = np.bincount(ids)
    shares = counts[counts > 0] / len(ids)
    return float(abs(np.sum(shares * np.log2(shares))))  # abs: -0.0 is no entropy


def mattr(codes: np.ndarray, window: int = 50) -> float:
    """Mean type-token ratio over all windows of `window` words (Covington and McFall 2010).

    Windows run across the borders of documents, since posts are shorter than windows.

    >>> mattr(np.array([0, 0, 1]), window=2)
    0.75
    """
    num_windows = len(codes) - window + 1
    if num_windows < 1:
        return np.nan
    # A word adds a type to those windows that hold it but not its previous occurrence.
    position = np.arange(len(codes))
    first = np.maximum(np.maximum(_previous(codes) + 1, position - window + 1), 0)
    last = np.minimum(position, num_windows - 1)
    return float(np.sum(np.maximum(last - first + 1, 0)) / (window * num_windows))


def mtld(codes: np.ndarray, threshold: float = 0.72) -> float:
    """Mean length of stretches whose type-token ratio stays above `threshold`, in words.

    The mean of the forward and the backward reading, with the partial factor at the end
    (McCarthy and Jarvis 2010). NaN where no word is ever repeated.
    """
    factors = [_num_factors(reading, threshold) for reading in (codes, codes[::-1])]
    if min(factors) == 0:
        return np.nan
    return float(np.mean([len(codes) / number for number in factors]))


def _num_factors(codes: np.ndarray, threshold: float) -> float:
    previous = _previous(codes)
    factors, start, width = 0.0, 0, 256
    while start < len(codes):
        is_new = previous[start : start + width] < start
        ratio = np.cumsum(is_new) / np.arange(1, len(is_new) + 1)
        reached = np.flatnonzero(ratio <= threshold)
        if len(reached):
            factors, start, width = factors + 1, start + int(reached[0]) + 1, 256
        elif start + width < len(codes):
            width *= 2
        else:
            return float(factors + (1 - ratio[-1]) / (1 - threshold))
    return factors


def hdd(codes: np.ndarray, sample: int = 42) -> float:
    """Expected type-token ratio of `sample` words drawn without replacement, in (0, 1].

    HD-D (McCarthy and Jarvis 2007): a type that occurs f times among N words is missed with
    probability C(N - f, sample) / C(N, sample).

    >>> hdd(np.arange(42))
    1.0
    """
    if len(codes) < sample:
        return np.nan
    frequency, num_types = np.unique(np.unique(codes, return_counts=True)[1], return_counts=True)
    left = len(codes) - np.arange(sample)
    missed = np.prod(np.maximum(left - frequency[:, None], 0) / left, axis=1)
    return float(np.sum(num_types * (1 - missed)) / sample)


def zipf_exponent(codes: np.ndarray) -> float:
    """The exponent s of frequency ~ rank^-s, by least squares on the logarithms.

    Over the 5,000 most frequent words, as Holtzman et al. 2020 (1904.09751) fit it. The fit
    describes a text beside another of equal length; it does not test the law.

    >>> round(zipf_exponent(np.repeat([0, 1, 2], [6, 3, 2])), 6)
    1.0
    """
    counts = np.sort(np.unique(codes, return_counts=True)[1])[::-1][:ZIPF_RANKS]
    return -_slope(np.log(np.arange(1, len(counts) + 1)), np.log(counts))


def heaps_exponent(codes: np.ndarray) -> float:
    """The exponent b of vocabulary ~ words^b (Heaps 1978), by least squares on the logarithms.

    Fitted at 50 sizes, spaced evenly in the logarithm, from a hundredth of the text to all of it:
    the very first words are nearly all new in any text. In [0, 1].

    >>> round(heaps_exponent(np.arange(200)), 6)
    1.0
    """
    if len(codes) < 2:
        return np.nan
    vocabulary = np.cumsum(_previous(codes) < 0)
    sizes = np.unique(np.geomspace(max(len(codes) / 100, 1), len(codes), 50).round().astype(int))
    return _slope(np.log(sizes), np.log(vocabulary[sizes - 1]))


def compression_ratio(texts: Sequence[str]) -> float:
    """UTF-8 bytes / bytes after zlib (level 6); higher if repetitive (Shaib et al., 2403.00553).

    zlib looks back 32 kB, so repetition across a longer distance goes to other metrics.

    >>> compression_ratio(["I don't know. " * 50]) > 10
    True
    """
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, level=6)) if data else np.nan


def repeated_share(texts: Sequence[str]) -> float:
    """Share of documents whose words, in order, are those of an earlier document; in [0, 1).

    >>> repeated_share(["Hi there", "hi there!", "bye"]) == 1 / 3
    True
    """
    if not texts:
        return np.nan
    different = {" ".join(words_of(text)) or text.strip() for text in texts}
    return (len(texts) - len(different)) / len(texts)


def overlap(texts: Sequence[str], reference: Sequence[str], n: int = 13) -> float:
    """Share of the texts' word n-grams that stand verbatim in some reference text; in [0, 1].

    >>> overlap(["a b c d"], ["x a b c"], n=2) == 2 / 3
    True
    """
    grams = ngrams(code_words([*texts, *reference]), n)
    own, others = (
        grams.ids[grams.documents < len(texts)],
        grams.ids[grams.documents >= len(texts)],
    )
    return float(np.mean(np.isin(own, others))) if len(own) and len(reference) else np.nan


def _previous(codes: np.ndarray) -> np.ndarray:
    """The position where each word occurred last before, -1 where it is new."""
    order = np.argsort(codes, kind="stable")
    again = codes[order[1:]] == codes[order[:-1]]
    previous = np.full(len(codes), -1, np.int64)
    previous[order[1:][again]] = order[:-1][again]
    return previous


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """The least-squares slope of y over x."""
    if len(x) < 2:
        return np.nan
    return float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
