"""An audit's rows: the parts of a corpus and samples of human text, measured at one size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.auditing.reference_metrics import ReferenceMetrics, Sizes
from textmad.auditing.sources import Source
from textmad.errors import CorpusError
from textmad.evaluators.metrics import METRICS
from textmad.evaluators.protocol import Measurement, Metric
from textmad.evaluators.reference_range import LEVEL, ReferenceRange, range_of_gaps, reference_range
from textmad.seeds import stream
from textmad.text.words import count_words

if TYPE_CHECKING:
    import pandas as pd

# Here rare is by words, and the reference is not learned from.
_OWN = (
    Metric("document_words", "human", "words", "Words a document"),
    Metric("near_repeated_share", "human", "share", "Near-repeated documents"),
    Metric("rare_rate", "human", "share", "Rare-word rate"),
    Metric("surviving_rare_types", "human", "share", "Surviving rare words"),
    Metric("unseen_mass", "human", "share", "Human mass of words not used"),
    Metric("overlap", "human", "share", "Verbatim overlap with the reference"),
    Metric("copied_documents", "human", "share", "Documents that stand in the reference"),
    Metric("near_copied_documents", "human", "share", "Near-copies of the reference"),
)
MEASURED: Mapping[str, Metric] = METRICS | {metric.name: metric for metric in _OWN}
# What a few documents make up: copies, whole or, of n-grams, in parts.
COUNTS = frozenset(
    (
        "repeated_share",
        "near_repeated_share",
        "overlap",
        "copied_documents",
        "near_copied_documents",
    )
)


class AuditRow(NamedTuple):
    """One metric of one file or group."""

    by: str  # "file" or "group"
    name: str
    metric: str
    bin: str
    value: float
    n: int
    note: str
    human: ReferenceRange
    sizes: Sizes
    p: float  # adjusted (Holm) over all rows of the audit; NaN where there is no value

    @property
    def side(self) -> str:
        """`above` or `below` the reference's range, or `inside`; empty without a value."""
        if np.isnan(self.p):
            return ""
        if self.human.low <= self.value <= self.human.high:
            return "inside"
        return "above" if self.value > self.human.mean else "below"

    @property
    def distance(self) -> float:
        """From the centre of human values, in their standard deviations."""
        return self.human.distance(self.value)

    @property
    def differs(self) -> bool:
        """Outside, and too far for chance also when as many are looked at."""
        return self.side in ("above", "below") and self.p < LEVEL


@dataclass(frozen=True)
class Audit:
    """What was read, what was measured, and what has to be said about it."""

    reference: Source
    sources: tuple[Source, ...]
    rows: tuple[AuditRow, ...]
    notes: tuple[str, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a metric and a file or group, all figures as numbers; NaN where none is."""
        import pandas as pd

        return pd.DataFrame([_flat(row) for row in self.rows])


def _flat(row: AuditRow) -> dict[str, object]:
    return {
        "by": row.by,
        "name": row.name,
        "metric": row.metric,
        "bin": row.bin,
        "value": row.value,
        "human": row.human.mean,
        "human_low": row.human.low,
        "human_high": row.human.high,
        "p": row.p,
        "side": row.side,
        "differs": row.differs,
        "documents": row.sizes.documents,
        "words": row.sizes.words,
        "n": row.n,
        "note": row.note,
    }


# --- measuring ---------------------------------------------------------------------------------

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
    metrics: ReferenceMetrics
    other: npt.NDArray[np.int64]  # rows of the half that the metrics has not seen


def split_reference(human: Source, documents: int, detector: bool, seed: int) -> SplitReference:
    """Halve at random; the metrics is four times as long as what it measures, at most."""
    num = len(human.documents)
    order = stream(seed, "audit", "halves").permutation(num)
    texts = human.texts(order[: num // 2][: 4 * documents])
    return SplitReference(human, ReferenceMetrics(texts, detector=detector), order[num // 2 :])


def parts_by_size(parts: Iterable[Part], most: int) -> dict[int, list[Part]]:
    """The parts by how many documents of each are compared: one number for files, one for groups.

    Where both are the same, files and groups share the human samples, which take most of the time.
    """
    alike: dict[str, list[Part]] = {}
    for part in parts:
        alike.setdefault(part.by, []).append(part)
    sizes: dict[int, list[Part]] = {}
    for some in alike.values():
        sizes.setdefault(min(most, *(part.num_documents for part in some)), []).extend(some)
    return sizes


def compare_parts(
    parts: Sequence[Part], num: int, reference: SplitReference, seed: int
) -> list[AuditRow]:
    """`num` documents of each part and of the reference's other half, on equally many words.

    Raises:
        CorpusError: there are no words.
    """
    human, metrics, other = reference
    rng = stream(seed, "audit", "human", num)
    samples = [human.texts(rng.choice(other, num, replace=False)) for _ in range(SAMPLES)]
    # Not by name: a file's figures are the same wherever it lies.
    drawn = [part.draw(num, stream(seed, "audit", "part")) for part in parts]
    lengths = [(human.name, min(metrics.num_words, *map(count_words, samples)))]
    lengths += [(part.name, count_words(texts)) for part, texts in zip(parts, drawn, strict=True)]
    for name, length in lengths:
        if not length:
            raise CorpusError(f"{name}: {num:,} of its documents hold no word; leave it out")
    sizes = Sizes(num, min(length for _, length in lengths))
    values = [metrics.measure(sample, sizes.words) for sample in samples]
    rows = []
    for part, texts in zip(parts, drawn, strict=True):
        measured = metrics.measure(texts, sizes.words)
        for m, *others in zip(measured, *values, strict=True):
            rows.append(_audit_row(part, m, others, num / len(other), sizes))
    return rows


def _audit_row(
    part: Part, m: Measurement, others: Sequence[Measurement], share: float, sizes: Sizes
) -> AuditRow:
    metric, values = MEASURED[m.metric], [other.value for other in others]
    if metric.counts_common:
        human = range_of_gaps(values, float(np.mean([other.n for other in others])), share)
    else:
        human = reference_range(
            values,
            share,
            least_spread=1 / max(m.n, 1) if metric.unit == "share" else 0.0,
            one=1 / sizes.documents if m.metric in COUNTS else 0.0,
        )
    return AuditRow(
        part.by, part.name, m.metric, m.bin, m.value, m.n, m.note, human, sizes, human.p(m.value)
    )
