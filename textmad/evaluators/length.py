"""The lengths of documents: their mean, and how many different ones there are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.evaluators.references import Rows, measure_compared
from textmad.text.words import length_in_words


def length_entropy(lengths: Sequence[int]) -> float:
    """Compute the Shannon entropy of the distribution of lengths, in nats (plug-in estimate).

    Falahati et al. (2605.07724, appendix C.6). 0 where all documents are equally long, log n where
    n documents all differ; so it is compared at equally many documents alone.

    >>> round(length_entropy([8, 8, 9, 9]), 3)
    0.693
    """
    shares = [count / len(lengths) for count in Counter(lengths).values()]
    return math.fsum(-share * math.log(share) for share in shares)


@dataclass(frozen=True)
class Length:
    """Measure mean and entropy of the documents' lengths in words, of every compared split.

    Words are those of the filter `length`: what white space separates.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure both on `num_documents` documents of each split."""
        lengths = {
            split: list(map(length_in_words, texts)) for split, texts in snapshot.texts.items()
        }

        def measure(split: str, rows: Rows) -> list[Measurement]:
            compared = [lengths[split][row] for row in rows[: snapshot.num_documents]]
            if not compared:
                note = "no document"
                return [
                    Measurement(name, math.nan, note=note)
                    for name in ("mean_length", "length_entropy")
                ]
            num = len(compared)
            return [
                Measurement("mean_length", math.fsum(compared) / num, n=num),
                Measurement("length_entropy", length_entropy(compared), n=num),
            ]

        return measure_compared(snapshot, measure, fixed=self)
