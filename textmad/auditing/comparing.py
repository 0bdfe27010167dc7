"""The parts of an audit and samples of human text, measured at one size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.auditing.findings import COUNTS, MEASURED, Row
from textmad.auditing.reference_metrics import Sizes, Yardstick
from textmad.auditing.sources import Source
from textmad.errors import CorpusError
from textmad.evaluators.human_baseline import ceiling
from textmad.evaluators.protocol import Measurement
from textmad.seeds import stream
from textmad.text.words import count_words

SAMPLES = 20  # of the reference's other half


class Part(NamedTuple):
    """A file or a group, wherever its documents lie."""

    by: str  # "file" or "group"
    name: str
    pieces: Sequence[tuple[Source, npt.NDArray[np.int64]]]  # with rows of each source

    @property
    def num_documents(self) -> int:
        """Of all pieces."""
        return sum(len(rows) for _, rows in self.pieces)

    def draw(self, num: int, rng: np.random.Generator) -> list[str]:
        """Texts of `num` documents in a random order."""
        chosen = rng.choice(self.num_documents, num, replace=False)
        texts, begin = np.empty(num, object), 0
        for source, rows in self.pieces:
            own = (chosen >= begin) & (chosen < begin + len(rows))
            if own.any():
                texts[own] = source.texts(rows[chosen[own] - begin])
            begin += len(rows)
        return list(texts)


class SplitReference(NamedTuple):
    """The reference: one half measures, samples of the other are measured beside the corpora."""

    human: Source
    yardstick: Yardstick
    other: npt.NDArray[np.int64]  # rows of the half that the yardstick has not seen


def halved(human: Source, documents: int, detector: bool, seed: int) -> SplitReference:
    """Halve at random; the yardstick is four times as long as what it measures, at most."""
    num = len(human.documents)
    order = stream(seed, "audit", "halves").permutation(num)
    texts = human.texts(order[: num // 2][: 4 * documents])
    return SplitReference(human, Yardstick(texts, detector=detector), order[num // 2 :])


def by_size(parts: Iterable[Part], most: int) -> dict[int, list[Part]]:
    """The parts by how many documents of each are compared: one number for files, one for groups.

    Where both are the same, files and groups share the human samples, which take most of the time.
    """
    alike: dict[str, list[Part]] = {}
    for part in parts:
        alike.setdefault(part.by, []).append(part)
    found: dict[int, list[Part]] = {}
    for some in alike.values():
        found.setdefault(min(most, *(part.num_documents for part in some)), []).extend(some)
    return found


def compared(parts: Sequence[Part], num: int, reference: SplitReference, seed: int) -> list[Row]:
    """`num` documents of each part and of the reference's other half, on equally many words.

    Raises:
        CorpusError: there are no words.
    """
    human, yardstick, other = reference
    rng = stream(seed, "audit", "human", num)
    samples = [human.texts(rng.choice(other, num, replace=False)) for _ in range(SAMPLES)]
    # Not by name: a file's figures are the same wherever it lies.
    drawn = [part.draw(num, stream(seed, "audit", "part")) for part in parts]
    lengths = [(human.name, min(yardstick.num_words, *map(count_words, samples)))]
    lengths += [(part.name, count_words(texts)) for part, texts in zip(parts, drawn, strict=True)]
    for name, length in lengths:
        if not length:
            raise CorpusError(f"{name}: {num:,} of its documents hold no word; leave it out")
    sizes = Sizes(num, min(length for _, length in lengths))
    values = [yardstick.measure(sample, sizes.words) for sample in samples]
    found = []
    for part, texts in zip(parts, drawn, strict=True):
        measured = yardstick.measure(texts, sizes.words)
        for m, *others in zip(measured, *values, strict=True):
            found.append(_row(part, m, others, num / len(other), sizes))
    return found


def _row(
    part: Part, m: Measurement, others: Sequence[Measurement], share: float, sizes: Sizes
) -> Row:
    human = ceiling(
        [other.value for other in others],
        share,
        least_spread=1 / max(m.n, 1) if MEASURED[m.metric].unit == "share" else 0.0,
        one=1 / sizes.documents if m.metric in COUNTS else 0.0,
    )
    return Row(
        part.by, part.name, m.metric, m.bin, m.value, m.n, m.note, human, sizes, human.p(m.value)
    )
