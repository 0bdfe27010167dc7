"""Texts as words: splitting, counting, cutting to equal length, integer codes, n-grams.

A word is a run of letters, digits and underscores, with inner apostrophes, folded to one case;
punctuation is not counted. Scripts that put no space between words come out as whole phrases.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

_WORD = re.compile(r"\w+(?:'\w+)*")


class Words(NamedTuple):
    """The words of a corpus, document after document, one number for each distinct word."""

    codes: np.ndarray  # (num_words,) int64, 0, 1, ... by first occurrence
    documents: np.ndarray  # (num_words,) int64, index of the word's document, ascending


def words_of(text: str) -> list[str]:
    """The words of a text, in order.

    >>> words_of("Don’t PANIC, don't!")
    ["don't", 'panic', "don't"]
    """
    return [word.casefold() for word in _WORD.findall(_plain(text))]


def count_words(texts: Iterable[str]) -> int:
    """The number of words in all texts together."""
    return sum(len(_WORD.findall(_plain(text))) for text in texts)


def cut_texts(texts: Sequence[str], num_words: int) -> list[str]:
    """The texts in order until they hold exactly `num_words` words; the last may be cut short.

    Texts with fewer words come back whole.

    >>> cut_texts(["one two.", "three four!", "five"], 3)
    ['one two.', 'three']
    """
    cut: list[str] = []
    missing = num_words
    for text in texts:
        if missing <= 0:
            break
        ends = [match.end() for match in _WORD.finditer(_plain(text))]
        cut.append(text if len(ends) <= missing else text[: ends[missing - 1]])
        missing -= len(ends)
    return cut


def code_words(texts: Iterable[str]) -> Words:
    """The words of the texts as integers.

    >>> code_words(["to be or", "not to be"]).codes.tolist()
    [0, 1, 2, 3, 0, 1]
    """
    codes, lengths = array("q"), array("q")
    code_of: defaultdict[str, int] = defaultdict(count().__next__)
    for text in texts:
        before = len(codes)
        codes.extend(map(code_of.__getitem__, words_of(text)))
        lengths.append(len(codes) - before)
    return Words(
        np.array(codes, np.int64), np.repeat(np.arange(len(lengths)), np.array(lengths, np.int64))
    )


class Ngrams(NamedTuple):
    """The n-grams of a corpus in order; equal n-grams have equal numbers."""

    ids: np.ndarray  # (num_ngrams,) int64, below the number of words
    documents: np.ndarray  # (num_ngrams,) int64


def ngrams(words: Words, n: int) -> Ngrams:
    """All n-grams of words that lie within one document.

    >>> ngrams(code_words(["a b a b", "b a"]), 2).ids.tolist()
    [0, 1, 0, 1]
    """
    ids = _ngram_ids(words.codes, n)
    first, last = words.documents[: len(ids)], words.documents[n - 1 :]
    return Ngrams(ids[first == last], first[first == last])


def _ngram_ids(codes: np.ndarray, n: int) -> np.ndarray:
    """A number for each of the `len(codes) - n + 1` windows, equal where the windows are equal.

    A window is known by two halves, which overlap where n is odd, so log2(n) sorts do.
    """
    if n == 1:
        return codes
    half = (n + 1) // 2
    halves = _ngram_ids(codes, half)
    num_windows = max(len(codes) - n + 1, 0)
    first, second = halves[:num_windows], halves[n - half : n - half + num_windows]
    # Both are below the number of words, so the pair fits an int64 up to 3e9 words.
    pairs = first * (len(codes) + 1) + second
    return np.unique(pairs, return_inverse=True)[1].astype(np.int64)


def _plain(text: str) -> str:
    """The text with typewriter apostrophes; as long as before."""
    return text.replace("’", "'")
