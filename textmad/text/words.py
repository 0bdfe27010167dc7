"""Texts as words: splitting, counting, cutting to equal length, integer codes, n-grams.

A word is a run of letters, digits and underscores, with inner apostrophes, folded to one case;
punctuation is not counted. In scripts that put no space between words (Chinese, Japanese, Thai,
Lao, Khmer, Burmese and their like) ICU finds the words, by its dictionaries.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from icu4py.breakers import WordBreaker

# Vowel signs and other marks, which `\w` has not; in these blocks are those of all living scripts.
_MARKS = "".join(
    char
    for first, last in ((0x300, 0x36F), (0x483, 0x1CFF), (0x3099, 0x309A), (0xA802, 0xABED))
    for char in map(chr, range(first, last + 1))
    if unicodedata.category(char)[0] == "M"
)
_WORD = re.compile(rf"[\w{_MARKS}]+(?:'[\w{_MARKS}]+)*")
# The scripts without spaces between words for which ICU has dictionaries.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_END = "\0"  # of a text among others
_WORD_OR_END = re.compile(rf"{_WORD.pattern}|{_END}")
_AT_ONCE = 4096  # texts split at once


class Words(NamedTuple):
    """The words of a corpus, document after document, one number for each distinct word."""

    codes: np.ndarray  # (num_words,) int64, 0, 1, ... by first occurrence
    documents: np.ndarray  # (num_words,) int32, index of the word's document, ascending


def words_of(text: str) -> list[str]:
    """Split a text into its words, in order.

    >>> words_of("Don’t PANIC, don't!")
    ["don't", 'panic', "don't"]
    """
    return [word.casefold() for word in segmented(_WORD.findall(_plain(text)), text)]


def count_words(texts: Iterable[str]) -> int:
    """Return the number of words in all texts together."""
    joined = (_plain("\n".join(batch)) for batch in _batches(texts))
    return sum(len(segmented(_WORD.findall(text), text)) for text in joined)


def length_in_words(text: str) -> int:
    """Return how long a text is, in words between white space.

    Where a script puts no space between words, they count as words all the same.

    >>> length_in_words("3.5 o'clock - fine"), length_in_words("我们今天去学校。")
    (4, 4)
    """
    pieces = text.split()
    if text.isascii() or not _UNSPACED.search(text):
        return len(pieces)
    return sum(max(1, count_words([piece])) for piece in pieces)


def folded_pieces(text: str) -> list[str]:
    """Split a text at white space, and scripts without spaces into their words; fold the case.

    Punctuation stays with its word, but in pieces that hold such a script. There are as many as
    `length_in_words` counts.

    >>> folded_pieces("Fine - I'm IN"), folded_pieces("我们今天去学校。")
    (['fine', '-', "i'm", 'in'], ['我们', '今天', '去', '学校'])
    """
    pieces = text.casefold().split()
    if text.isascii() or not _UNSPACED.search(text):
        return pieces
    return [word for piece in pieces for word in words_of(piece) or [piece]]


def segmented(words: list[str], text: str) -> list[str]:
    """Return the words of a text, with runs of a script without spaces split into theirs.

    >>> segmented(["ok", "我们今天去学校"], "ok 我们今天去学校")
    ['ok', '我们', '今天', '去', '学校']
    """
    if text.isascii() or not _UNSPACED.search(text):
        return words
    return [
        word[begin:end]
        for word in words
        for begin, end in (_segments(word) if _UNSPACED.search(word) else ((0, len(word)),))
    ]


def _segments(run: str) -> list[tuple[int, int]]:
    """Return where the words of a run without spaces begin and end, by Unicode's rules and ICU."""
    # The language changes no border between words in ICU's data but those of Finnish and Swedish.
    return list(WordBreaker(run, "en").segments())


def cut_texts(texts: Sequence[str], num_words: int) -> list[str]:
    """Return the first texts that hold `num_words` words; the last may be cut short.

    Texts with fewer words come back whole.

    >>> cut_texts(["one two.", "three four!", "five"], 3)
    ['one two.', 'three']
    """
    return cut(texts, code_words(texts, num_words), num_words)[0]


def cut(texts: Sequence[str], words: Words, num_words: int) -> tuple[list[str], Words]:
    """`cut_texts`, and the words that they hold, where `words` has the texts' words already."""
    if len(words.codes) < num_words:
        return list(texts), words
    words = Words(words.codes[:num_words], words.documents[:num_words])
    if num_words <= 0:
        return [], words
    last = int(words.documents[-1])
    in_last = num_words - int(np.searchsorted(words.documents, last))
    ends = [
        match.start() + end
        for match in _WORD.finditer(_plain(texts[last]))
        for _, end in (_segments(match[0]) if _UNSPACED.search(match[0]) else ((0, len(match[0])),))
    ]
    end = texts[last] if len(ends) == in_last else texts[last][: ends[in_last - 1]]
    return [*texts[:last], end], words


def take_words(
    words: Words, rows: np.ndarray, num_words: int | None = None, *, densely: bool = True
) -> Words:
    """Return the words of some documents, in that order, at most `num_words` of them.

    Args:
        words: of a corpus.
        rows: indices of documents `(chosen,)`; document `rows[i]` becomes document i.
        num_words: how many words are kept, the last document cut short; None: all.
        densely: number the words anew, by first occurrence.

    >>> take_words(code_words(["a b", "c", "b d"]), np.array([2, 0]), 3)
    Words(codes=array([0, 1, 2]), documents=array([0, 0, 1], dtype=int32))
    """
    begin = np.searchsorted(words.documents, rows, side="left")
    lengths = np.searchsorted(words.documents, rows, side="right") - begin
    ends = np.cumsum(lengths)
    if num_words is not None:
        used = int(np.searchsorted(ends, num_words)) + 1
        begin, lengths, ends = begin[:used], lengths[:used], ends[:used]
    total = int(ends[-1]) if len(ends) else 0
    positions = np.repeat(begin - (ends - lengths), lengths) + np.arange(total)
    documents = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    codes = words.codes[positions[:num_words]]
    return Words(_dense(codes) if densely else codes, documents[:num_words])


def join_words(one: Words, other: Words) -> Words:
    """Return one corpus of two whose words are numbered alike; its words are numbered anew."""
    shift = one.documents.max(initial=-1) + 1
    codes = _dense(np.concatenate([one.codes, other.codes]))
    return Words(codes, np.concatenate([one.documents, other.documents + shift]))


class Vocabulary(dict[str, int]):
    """Numbers of words as they stand in texts; words that differ in case alone share one.

    It learns the words that it is asked for: 0, 1, ... by first occurrence.
    """

    def __init__(self) -> None:
        super().__init__({_END: -1})
        self._folded: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        self[word] = code = self._folded.setdefault(word.casefold(), len(self._folded))
        return code

    @property
    def num_types(self) -> int:
        """Distinct words so far."""
        return len(self._folded)


def code_words(
    texts: Iterable[str],
    num_words: int | None = None,
    num_documents: int | None = None,
    vocabulary: Vocabulary | None = None,
) -> Words:
    """Return the words of the texts as integers.

    With `num_words`, texts are read until they hold at least so many words and are at least
    `num_documents`; the rest may be left out. A `vocabulary` numbers the words of several corpora
    alike.

    >>> code_words(["to be or", "not to be"]).codes.tolist()
    [0, 1, 2, 3, 0, 1]
    """
    vocabulary = Vocabulary() if vocabulary is None else vocabulary
    codes, documents = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    num_read = num_found = 0
    for batch in _batches(texts):
        if num_words is not None and num_found >= num_words and num_read >= (num_documents or 0):
            break
        numbers = _numbered(batch, vocabulary)
        is_end = numbers == vocabulary[_END]
        codes.append(numbers[~is_end])
        documents.append((np.cumsum(is_end) - is_end + num_read)[~is_end].astype(np.int32))
        num_read += len(batch)
        num_found += len(codes[-1])
    return Words(np.concatenate(codes), np.concatenate(documents))


def type_counts(texts: Iterable[str], vocabulary: Vocabulary) -> np.ndarray:
    """Count how often each distinct word occurs, `(types,)`, by its number in `vocabulary`.

    Texts are read some thousand at a time, so that their number does not matter to the memory.

    >>> type_counts(["to be or", "not to be"], Vocabulary()).tolist()
    [2, 2, 1, 1]
    """
    counts = np.zeros(vocabulary.num_types, np.int64)
    for batch in _batches(texts):
        numbers = _numbered(batch, vocabulary)
        counts = np.pad(counts, (0, vocabulary.num_types - len(counts)))
        counts += np.bincount(numbers[numbers >= 0], minlength=len(counts))
    return counts


def _numbered(batch: Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
    """The number of each word, and the one of `_END` behind each text."""
    joined = "".join(text.replace(_END, " ") + _END for text in batch)
    split = segmented(_WORD_OR_END.findall(_plain(joined)), joined)
    return np.fromiter(map(vocabulary.__getitem__, split), np.int64, len(split))


class Ngrams(NamedTuple):
    """The n-grams of a corpus in order; equal n-grams have equal numbers."""

    ids: np.ndarray  # (num_ngrams,) int64
    documents: np.ndarray  # (num_ngrams,) int32


def ngrams(words: Words, n: int) -> Ngrams:
    """Return all n-grams of words that lie within one document.

    >>> ngrams(code_words(["a b a b", "b a"]), 2).ids.tolist()
    [1, 7, 1, 7]
    """
    return _within_documents(words, _ngram_ids(words.codes, n), n)


def ngrams_up_to_4(words: Words) -> Iterator[tuple[int, Ngrams]]:
    """Each n from 1 to 4 with its n-grams, one after the other, as they rest on the same pairs."""
    yield 1, Ngrams(words.codes, words.documents)
    pairs = _ngram_ids(words.codes, 2)
    yield 2, _within_documents(words, pairs, 2)
    halves = _dense(pairs)
    del pairs
    for n in (3, 4):
        yield n, _within_documents(words, _joined(halves, n, 2), n)


def _within_documents(words: Words, ids: np.ndarray, n: int) -> Ngrams:
    first, last = words.documents[: len(ids)], words.documents[n - 1 :]
    return Ngrams(ids[first == last], first[first == last])


def _ngram_ids(codes: np.ndarray, n: int) -> np.ndarray:
    """Number the `len(codes) - n + 1` windows of n words, equal ones alike.

    A window is known by two halves, which overlap where n is odd, so log2(n) rounds do.
    """
    if n == 1:
        return codes
    half = (n + 1) // 2
    return _joined(codes if half == 1 else _dense(_ngram_ids(codes, half)), n, half)


def _joined(halves: np.ndarray, n: int, half: int) -> np.ndarray:
    """Windows of n words as one number, from those of their first and last `half` words."""
    num_windows = max(len(halves) - (n - half), 0)
    first, second = halves[:num_windows], halves[n - half : n - half + num_windows]
    # Both are below the number of words, so the pair fits an int64 up to 3e9 words.
    joined: np.ndarray = first * (len(halves) + half) + second
    return joined


def _dense(ids: np.ndarray) -> np.ndarray:
    """Other numbers for the same things, all below how many there are."""
    import pandas as pd  # here: filters count words, and import no pandas

    dense: np.ndarray = pd.factorize(ids)[0].astype(np.int64, copy=False)
    return dense


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(texts)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch


def _plain(text: str) -> str:
    """The text with typewriter apostrophes; as long as before."""
    return text.replace("’", "'")
