"""An interpolated Kneser-Ney n-gram model: the yardstick a neural base has to beat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

Gram = tuple[int, ...]


class KneserNey:
    """Interpolated Kneser-Ney of one `order` and one discount (Chen and Goodman 1999, eq. 17).

    Lower orders count distinct left contexts instead of occurrences; below the unigram stands the
    uniform distribution, so every token has a probability.
    """

    def __init__(self, order: int, vocabulary_size: int, discount: float = 0.75) -> None:
        self.order, self.vocabulary_size, self.discount = order, vocabulary_size, discount
        self._counts: list[Counter[Gram]] = []
        self._totals: list[Counter[Gram]] = []
        self._followers: list[Counter[Gram]] = []

    def fit(self, corpus: Iterable[Sequence[int]]) -> KneserNey:
        """Count token ids, one sequence a document, end token last."""
        highest: Counter[Gram] = Counter()
        for tokens in corpus:
            padded = self._padded(tokens)
            highest.update(zip(*(padded[shift:] for shift in range(self.order)), strict=False))
        levels = [highest]
        while len(levels) < self.order:
            levels.append(Counter(gram[1:] for gram in levels[-1]))
        self._counts = levels[::-1]
        self._totals, self._followers = [], []
        for counts in self._counts:
            totals: defaultdict[Gram, int] = defaultdict(int)
            followers: defaultdict[Gram, int] = defaultdict(int)
            for gram, count in counts.items():
                totals[gram[:-1]] += count
                followers[gram[:-1]] += 1
            self._totals.append(Counter(totals))
            self._followers.append(Counter(followers))
        return self

    def token_nll(self, tokens: Sequence[int]) -> np.ndarray:
        """Nats per token of one document, (len(tokens),)."""
        padded = self._padded(tokens)
        grams = zip(*(padded[shift:] for shift in range(self.order)), strict=False)
        return -np.log([self._probability(gram) for gram in grams])

    def _probability(self, gram: Gram) -> float:
        probability = 1.0 / self.vocabulary_size
        for level in range(self.order):
            suffix = gram[self.order - 1 - level :]
            total = self._totals[level][suffix[:-1]]
            if total:
                seen = max(self._counts[level][suffix] - self.discount, 0.0)
                left = self.discount * self._followers[level][suffix[:-1]]
                probability = (seen + left * probability) / total
        return probability

    def _padded(self, tokens: Sequence[int]) -> list[int]:
        return [-1] * (self.order - 1) + list(tokens)
