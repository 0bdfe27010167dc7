"""`textmad audit`: how far a corpus is from human text, without training anything.

The human reference is halved at random. One half is the yardstick: it says which words are rare,
which n-grams are common, what a copy is. The corpus and samples of the other half are held
against it, at equal numbers of documents and of words; so the other half says how far human text
is from itself, and only what lies outside of that can be called a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.auditing.ceiling import Ceiling, ceiling
from textmad.auditing.findings import MEASURED, Audit, Row
from textmad.auditing.page import print_audit, write_audit
from textmad.auditing.sources import Format, Source, read_source, rows_by_group
from textmad.auditing.yardstick import Sizes, Yardstick
from textmad.errors import CorpusError
from textmad.evaluators.protocol import Measurement
from textmad.seeds import stream
from textmad.stats import adjust
from textmad.words import count_words

__all__ = ["Audit", "Ceiling", "Row", "audit", "ceiling", "print_audit", "write_audit"]

SAMPLES = 20  # of the reference's other half
MOST_GROUPS = 20


def audit(
    texts: Sequence[str | Path],
    reference: str | Path,
    *,
    text_column: str = "text",
    form: Format = "auto",
    group: str | None = None,
    documents: int = 5000,
    min_documents: int = 200,
    max_words: int = 1000,
    detector: bool = False,
    seed: int = 0,
) -> Audit:
    """Hold corpora against human text, by file and by group.

    Args:
        texts: what recipes read as `corpus.source`; each is judged by itself.
        reference: human text, the same way.
        text_column: where the text is, in all of them that have columns.
        form: of all these files, as recipes' `corpus.format`; "auto" goes by their names.
        group: a column of `texts`: each of its groups is judged too, across all files.
        documents: how many are compared at most; less where something has less.
        min_documents: smaller groups are left out, smaller files refused.
        max_words: longer documents are left out, on both sides: in a text that is compared on few
            words one of them would be all that there is.
        detector: train a classifier to tell each from human text (slow).
        seed: of the halving and the samples.

    Raises:
        CorpusError: a source is refused, or too small.
        RecipeError: a column has no effect on a source.
    """
    names = [str(source) for source in texts]
    _check(names, str(reference), documents, min_documents)
    human = _opened(str(reference), text_column, None, form, max_words)
    _check_size(
        human, 4 * min_documents, f"as a reference: a half gives samples of {min_documents:,}"
    )
    sources = [_opened(name, text_column, group, form, max_words) for name in names]
    for source in sources:
        _check_size(source, min_documents)
    notes = [_left_out(source) for source in (human, *sources)]
    parts = {"file": {s.name: _everywhere(sources, place) for place, s in enumerate(sources)}}
    if group is not None:
        parts["group"], note = _groups(sources, group, min_documents)
        notes.append(note)
    halved = _halved(human, documents, detector, seed)
    rows = [
        row
        for by, places in parts.items()
        for row in _measured(by, places, sources, halved, documents, seed)
    ]
    return Audit(human, tuple(sources), tuple(_adjusted(rows)), tuple(filter(None, notes)))


Places = Sequence[npt.NDArray[np.int64]]  # rows in each source


class _Halved(NamedTuple):
    """The reference: what measures, and what is measured beside the corpora."""

    human: Source
    yardstick: Yardstick
    other: npt.NDArray[np.int64]  # rows of the half that the yardstick has not seen


def _check(names: Sequence[str], reference: str, documents: int, min_documents: int) -> None:
    if not names:
        raise CorpusError("texts: expected at least one file")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise CorpusError(f"{name}: is given twice; delete one")
        if name == reference:
            raise CorpusError(f"{name}: is the reference itself; its halves are compared anyway")
    if min_documents < 2:
        raise CorpusError(f"--min-documents: {min_documents}: expected at least 2")
    if documents < min_documents:
        raise CorpusError(
            f"--documents: {documents}: expected at least --min-documents, {min_documents}"
        )


def _opened(name: str, text_column: str, group: str | None, form: Format, max_words: int) -> Source:
    built_in = name == "chitchat"
    column, form = ("text", "auto") if built_in else (text_column, form)
    return read_source(name, column, group, form, max_words)


def _halved(human: Source, documents: int, detector: bool, seed: int) -> _Halved:
    num = len(human.documents)
    order = stream(seed, "audit", "halves").permutation(num)
    texts = human.texts(order[: num // 2][: 4 * documents])
    return _Halved(human, Yardstick(texts, detector=detector), order[num // 2 :])


def _check_size(source: Source, needed: int, why: str = "") -> None:
    if len(source.documents) < needed:
        raise CorpusError(
            f"{source.name}: {len(source.documents):,} documents; at least {needed:,} are needed"
            f"{why and ' '}{why}. Give more text, or lower --min-documents"
        )


def _everywhere(sources: Sequence[Source], place: int) -> list[npt.NDArray[np.int64]]:
    return [
        np.arange(len(source.documents) if index == place else 0)
        for index, source in enumerate(sources)
    ]


def _groups(
    sources: Sequence[Source], group: str, min_documents: int
) -> tuple[dict[str, Places], str]:
    """The largest groups that are large enough, and what is left out."""
    found = rows_by_group(sources)
    sizes = {name: sum(map(len, places)) for name, places in found.items()}
    enough = [name for name in found if sizes[name] >= min_documents]
    if not enough:
        largest = f"the largest of {len(found):,} has {max(sizes.values())}" if found else "none"
        raise CorpusError(
            f"--group {group}: no group has {min_documents:,} documents ({largest}). Give more "
            "text, or lower --min-documents"
        )
    chosen = sorted(enough, key=lambda name: -sizes[name])[:MOST_GROUPS]
    nameless = sum(len(source.documents) for source in sources) - sum(sizes.values())
    parts = [
        f"{len(found) - len(enough):,} groups of fewer than {min_documents:,} documents"
        if len(enough) < len(found)
        else "",
        f"{len(enough) - len(chosen):,} groups smaller than the {MOST_GROUPS} shown"
        if len(chosen) < len(enough)
        else "",
        f"{nameless:,} documents without a group" if nameless else "",
    ]
    left_out = ", ".join(filter(None, parts))
    return {name: found[name] for name in chosen}, left_out and f"Groups leave out {left_out}."


def _measured(
    by: str,
    parts: Mapping[str, Places],
    sources: Sequence[Source],
    halved: _Halved,
    documents: int,
    seed: int,
) -> list[Row]:
    """Every part and samples of the reference's other half, all of the same size."""
    human, yardstick, other = halved
    num = min(documents, len(other) // 2, *(sum(map(len, p)) for p in parts.values()))
    drawn = {
        name: _drawn(sources, places, num, stream(seed, "audit", by, name))
        for name, places in parts.items()
    }
    rng = stream(seed, "audit", by, "human")
    samples = [human.texts(rng.choice(other, num, replace=False)) for _ in range(SAMPLES)]
    lengths = [(human.name, min(yardstick.num_words, *map(count_words, samples)))]
    lengths += [(name, count_words(texts)) for name, texts in drawn.items()]
    for name, length in lengths:
        if not length:
            raise CorpusError(f"{name}: {num:,} of its documents hold no word; leave it out")
    sizes = Sizes(num, min(length for _, length in lengths))
    values = [yardstick.measure(sample, sizes.words) for sample in samples]
    found = []
    for name, texts in drawn.items():
        measured = yardstick.measure(texts, sizes.words)
        for m, *others in zip(measured, *values, strict=True):
            found.append(_row(by, name, m, others, num / len(other), sizes))
    return found


def _drawn(
    sources: Sequence[Source], places: Places, num: int, rng: np.random.Generator
) -> list[str]:
    """Texts of `num` documents in a random order, from wherever they lie."""
    total = sum(map(len, places))
    begins = np.cumsum([0, *map(len, places)])
    chosen = rng.choice(total, num, replace=False)
    texts = np.empty(num, object)
    for source, rows, begin in zip(sources, places, begins, strict=False):
        own = (chosen >= begin) & (chosen < begin + len(rows))
        if own.any():
            texts[own] = source.texts(rows[chosen[own] - begin])
    return list(texts)


def _row(
    by: str, name: str, m: Measurement, others: Sequence[Measurement], share: float, sizes: Sizes
) -> Row:
    fine = 1 / max(m.n, 1) if MEASURED[m.metric].unit == "share" else 0.0
    human = ceiling([other.value for other in others], share, fine)
    return Row(by, name, m.metric, m.bin, m.value, m.n, m.note, human, sizes, human.p(m.value))


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    p = adjust([row.p for row in rows])
    return [row._replace(p=float(value)) for row, value in zip(rows, p, strict=True)]


def _left_out(source: Source) -> str:
    parts = [
        f"{source.bad:,} lines that cannot be read" if source.bad else "",
        f"{source.deleted:,} deleted posts" if source.deleted else "",
        f"{source.empty:,} empty texts" if source.empty else "",
        f"{source.too_long:,} texts that are too long" if source.too_long else "",
    ]
    left_out = ", ".join(filter(None, parts))
    return left_out and f"{source.name}: left out {left_out}."
