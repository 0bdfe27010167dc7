"""How far the n-grams of model text are from human text's, as distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from textmad.evaluators.held_out import reference_passages
from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.evaluators.references import Rows, measure_compared
from textmad.text.words import Words, code_words, join_words, ngrams_up_to_4, take_words

Ints = npt.NDArray[np.int64]

LONGEST = 3


def jensen_shannon_bits(one: Ints, other: Ints) -> float:
    """Compute the Jensen-Shannon divergence of two lists of numbers, by frequency, in bits.

    The mean of what each distribution costs, in bits an item, when it is coded as their mixture
    (Lin, IEEE Transactions on Information Theory 37, 1991): 0, they are the same, to 1, they
    share nothing. NaN where one is empty.

    >>> jensen_shannon_bits(np.array([0, 0, 1]), np.array([1, 0, 0]))
    0.0
    >>> jensen_shannon_bits(np.array([0]), np.array([1, 2]))
    1.0
    """
    from scipy.special import rel_entr

    if not len(one) or not len(other):
        return math.nan
    kinds, codes = np.unique(np.concatenate([one, other]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(kinds)) for part in np.split(codes, [len(one)])]
    p, q = (count / count.sum() for count in counts)
    middle = (p + q) / 2
    nats = float(rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / 2
    return max(nats, 0.0) / math.log(2)


def ngram_gap(
    texts: Sequence[str], reference: Sequence[str], num_words: int | None = None
) -> list[Measurement]:
    """Measure the gap between two corpora's words, word pairs and word triples.

    The plug-in estimate is far above the truth while n-grams are seen once or twice, the more so
    the shorter the text: compare gaps at the same `num_words` of both (all where None), beside
    the gap between two human texts of that length. NaN where one of them has fewer.

    >>> [(m.metric, m.value) for m in ngram_gap(["a b"], ["b a"])][:2]
    [('ngram_gap_1', 0.0), ('ngram_gap_2', 1.0)]
    """
    words = code_words([*texts, *reference])
    own = np.arange(len(texts))
    return gaps_of(words, own, len(texts) + np.arange(len(reference)), num_words)


def gaps_of(
    words: Words, own: Rows, reference: Rows, num_words: int | None = None
) -> list[Measurement]:
    """Measure the gap between some documents of a corpus and some others.

    Args:
        words: of both.
        own: indices of the documents, in the order in which they are cut.
        reference: indices of those that they are compared with.
        num_words: as in `ngram_gap`.
    """
    parts = [take_words(words, rows, num_words, densely=False) for rows in (own, reference)]
    lengths = [len(part.codes) for part in parts]
    if num_words is not None and min(lengths) < num_words:
        note = f"{min(lengths)} words, {num_words} needed"
        return [
            Measurement(f"ngram_gap_{n}", math.nan, n=min(lengths), note=note)
            for n in range(1, LONGEST + 1)
        ]
    return gaps_within(join_words(*parts), int(parts[0].documents.max(initial=-1)) + 1)


def gaps_within(words: Words, num_documents: int) -> list[Measurement]:
    """Measure the gap between the first `num_documents` of a corpus and all the others."""
    gaps = []
    for n, (ids, documents) in islice(ngrams_up_to_4(words), LONGEST):
        parts = np.split(ids, [int(np.searchsorted(documents, num_documents))])
        note = "" if all(map(len, parts)) else f"no document of {n} words"
        value = jensen_shannon_bits(*parts)
        gaps.append(Measurement(f"ngram_gap_{n}", value, n=len(parts[0]), note=note))
    return gaps


@dataclass(frozen=True)
class NgramGap:
    """Measure the gap of every compared split to held-out human text, on equally many words.

    Where less text is held out, all are cut to what there is. Two human texts differ
    by the value of human text, so no lower value can be expected of a model's.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure words, word pairs and triples of each split."""
        # As many documents may hold fewer words, twice as many hardly.
        reference = reference_passages(snapshot, 2 * snapshot.num_documents).texts
        num_words = min(snapshot.num_words, len(code_words(reference).codes))

        def measure(split: str, rows: Rows) -> list[Measurement]:
            texts = tuple(snapshot.texts.get(split, ()))
            words = snapshot.once(
                ("words with reference", texts), lambda: code_words([*texts, *reference])
            )
            return gaps_of(words, rows, len(texts) + np.arange(len(reference)), num_words)

        return measure_compared(snapshot, measure, fixed="ngram_gap")
