"""Measuring text: perplexity by padded batches in file order, and words by a counter, against ours.

Both sides give the same figures; a test holds them to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from benchmarks import plain_generation
from benchmarks.sides import Done
from benchmarks.workload import base_folder, our_model, read_texts
from textmad.evaluators import lexical
from textmad.evaluators.perplexity import corpus_loss
from textmad.evaluators.rare_tokens import rare_tokens, text_tokens
from textmad.text.words import code_words, ngrams, words_of

ORDERS = (1, 2, 3, 4)


def plain_perplexity(base: str, dtype: str, texts: str) -> Callable[[int], Done]:
    """Batches of 16 as they come, padding masked."""
    corpus = read_texts(texts)
    network, tokenizer = plain_generation.open_model(base_folder(base), dtype)

    def turn(number: int) -> Done:
        nats, num_tokens = plain_generation.nats(network, tokenizer, corpus)
        return Done(num_tokens, lambda: {"loss": nats / num_tokens})

    return turn


def our_perplexity(base: str, dtype: str, texts: str) -> Callable[[int], Done]:
    """`CausalLM.token_nll`."""
    corpus = read_texts(texts)
    model = our_model(base, dtype)

    def turn(number: int) -> Done:
        nll = model.token_nll(corpus)
        return Done(sum(map(len, nll)), lambda: {"loss": corpus_loss(nll)})

    return turn


def plain_counts(base: str, dtype: str, texts: str, human: str) -> Callable[[int], Done]:
    """Distinct n-grams and rare tokens by `Counter`, a word at a time."""
    corpus = read_texts(texts)
    tokens, human_tokens = _tokens(base, dtype, corpus), _tokens(base, dtype, read_texts(human))

    def turn(number: int) -> Done:
        words = [words_of(text) for text in corpus]
        found = {f"distinct_{n}": plain_generation.distinct(words, n) for n in ORDERS}
        found["rare_rate"] = _rare_rate(tokens, human_tokens)
        return Done(sum(map(len, tokens)), lambda: found)

    return turn


def our_counts(base: str, dtype: str, texts: str, human: str) -> Callable[[int], Done]:
    """The same by textmad's evaluators."""
    corpus = read_texts(texts)
    tokens, human_tokens = _tokens(base, dtype, corpus), _tokens(base, dtype, read_texts(human))

    def turn(number: int) -> Done:
        words = code_words(corpus)
        found = {f"distinct_{n}": lexical.distinct(ngrams(words, n).ids) for n in ORDERS}
        counts = np.bincount(text_tokens(human_tokens))
        measured = {m.metric: m.value for m in rare_tokens(text_tokens(tokens), counts)}
        found["rare_rate"] = float(measured["rare_rate"])
        return Done(sum(map(len, tokens)), lambda: found)

    return turn


def _tokens(base: str, dtype: str, texts: Sequence[str]) -> list[np.ndarray]:
    return our_model(base, dtype).encode(texts)


def _rare_rate(tokens: Sequence[np.ndarray], human: Sequence[np.ndarray]) -> float:
    """The share of tokens whose type is among the rarest that make up a tenth of human text.

    Types of equal count are ordered by number, as textmad orders them.
    """
    counts = Counter(chain.from_iterable(ids[:-1].tolist() for ids in human))
    total, below, common = counts.total(), 0, set()
    for token, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        if below / total >= 0.10:
            common.add(token)
        below += count
    own = Counter(chain.from_iterable(ids[:-1].tolist() for ids in tokens))
    return sum(count for token, count in own.items() if token not in common) / own.total()
