"""Measure all compared splits, and give each reference the interval of one more text like it.

The references are held-out human text and text of the base model. Each has more documents than are
compared, so samples of the compared size are taken from it. Their mean is the reference's value;
their variance gives the prediction interval (`textmad.evaluators.reference_range`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from textmad.evaluators.metrics import METRICS
from textmad.evaluators.protocol import COMPARED, REFERENCES, Measurement, Snapshot
from textmad.evaluators.reference_range import range_of_gaps, reference_range
from textmad.seeds import stream
from textmad.text.passages import Passages
from textmad.text.words import Words, code_words

NUM_SAMPLES = 20
# Degrees of freedom of the samples' variance. 20 samples would have 19, but they are samples of the
# same few documents: with 19, 88 to 92 of 100 other human texts had quantiles of perplexity within
# the interval (tests/null_draws.py, 100 of 200 documents).
_DF = 8
# Of a quantile with fewer documents beyond it: with 8, 90 of 100 human texts of 60 documents had
# their quantile of 99 % within the interval, since no sample holds a document beyond the largest.
_LEAST_DF = 2
# Samples of more than this share of a reference are too alike to tell its variance.
MAX_SAMPLE_SHARE = 0.75

Rows = npt.NDArray[np.int64]
MeasureRows = Callable[[str, Rows], Sequence[Measurement]]
"""Measures documents of a split: its name, and their indices in `Snapshot.passages(split)`."""


def measure_compared(
    snapshot: Snapshot,
    measure: MeasureRows,
    *,
    splits: Sequence[str] = COMPARED,
    num_documents: int | None = None,
    num_samples: int = NUM_SAMPLES,
    fixed: Hashable = None,
    num_behind: Callable[[Measurement], float] | None = None,
) -> list[Measurement]:
    """Measure each split: sampled text once, a reference by samples of it.

    Args:
        snapshot: with the documents.
        measure: called with documents in a random order, at least `num_documents` of them, or
            with none where the split is missing. It compares by document on the first
            `num_documents` and by word on the first `num_words` words, and leaves `split` out.
        splits: those to be measured.
        num_documents: how many are compared; None: `snapshot.num_documents`.
        num_samples: of a reference, at least 2.
        fixed: where the values of a reference are the same in all generations, what they depend
            on beside text and base model: they are then computed once a run.
        num_behind: of quantiles, how many documents lie beyond one. Values of quantiles have a
            long tail, so they are compared by their logarithms; and a variance that rests on few
            documents has as few degrees of freedom, 2 at least.

    Returns:
        The same metrics for every split, with `low` and `high` where it is a reference.
    """
    size = snapshot.num_documents if num_documents is None else num_documents
    measured: list[Measurement] = []
    for split in splits:
        if not snapshot.texts.get(split):
            note = f"too few {split} documents"
            of_split = [replace(m, note=note) for m in measure(split, np.arange(0))]
        elif split in REFERENCES:
            compute = partial(_reference, snapshot, split, measure, size, num_samples, num_behind)
            # Held-out text, the human training pool and sampled ids are in the key, since some
            # values depend on them.
            key: tuple[Hashable, ...] = (
                "reference",
                fixed,
                split,
                size,
                snapshot.num_words,
                snapshot.passages(split),
            )
            ids = snapshot.sampled_ids.get(split, ())
            sampled_ids = tuple(None if row is None else tuple(row) for row in ids)
            key += (num_samples, sampled_ids, snapshot.human, snapshot.held_out)
            of_split = compute() if fixed is None else snapshot.once_a_run(key, compute)
        else:
            of_split = list(measure(split, np.arange(len(snapshot.texts[split]))))
        measured += [replace(m, split=split) for m in of_split]
    return measured


def compared_passages(snapshot: Snapshot, split: str) -> Passages:
    """Return the passages that are compared by document: of a reference all, to be resampled."""
    passages = snapshot.passages(split)
    return passages if split in REFERENCES else passages.first(snapshot.num_documents)


def split_words(snapshot: Snapshot, split: str) -> Words:
    """Return the words of all documents of a split, for `take_words`."""
    texts = tuple(snapshot.texts.get(split, ()))
    return snapshot.once(("split_words", texts), lambda: code_words(texts))


def _reference(
    snapshot: Snapshot,
    split: str,
    measure: MeasureRows,
    num_documents: int,
    num_samples: int,
    num_behind: Callable[[Measurement], float] | None,
) -> list[Measurement]:
    """Measure samples of a reference; return their means with prediction intervals."""
    num = len(snapshot.texts[split])
    orders = [stream(0, "reference", split, k).permutation(num) for k in range(num_samples)]
    samples = [list(measure(split, order)) for order in orders]
    return [
        _with_interval(values, num_documents / num, num_documents, num_behind)
        for values in zip(*samples, strict=True)
    ]


def _with_interval(
    values: Sequence[Measurement],
    sample_share: float,
    num_documents: int,
    num_behind: Callable[[Measurement], float] | None,
) -> Measurement:
    """Merge one metric's values of all samples."""
    missing = next((m for m in values if not math.isfinite(m.value)), None)
    if missing is not None:
        return replace(missing, note=missing.note or "infinite in a sample of it")
    size = round(float(np.mean([m.n for m in values])))
    mean = math.fsum(m.value for m in values) / len(values)  # of equal values exactly that
    if sample_share > MAX_SAMPLE_SHARE:
        note = "no interval: too few documents to resample"
        return replace(values[0], value=mean, n=size, note=note)
    metric = METRICS.get(values[0].metric)
    df = min(_DF, len(values) - 1)
    if num_behind is not None:
        df = max(_LEAST_DF, min(df, int(num_behind(replace(values[0], n=size)))))
    if metric and metric.counts_common:
        gaps = range_of_gaps([m.value for m in values], size, sample_share, df)
        return replace(values[0], value=mean, n=size, low=gaps.low, high=gaps.high)
    interval = reference_range(
        [m.value for m in values],
        sample_share,
        least_spread=1 / max(size, 1) if metric and metric.unit == "share" else 0.0,
        one=1 / num_documents if metric and metric.counts_documents else 0.0,
        df=df,
        is_ratio=num_behind is not None,
    )
    return replace(values[0], value=mean, n=size, low=interval.low, high=interval.high)
