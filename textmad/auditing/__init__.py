"""`textmad audit`: how far a corpus is from human text, without training anything.

The human reference is halved at random. One half defines the metrics: which words are rare, which
n-grams are common, what a copy is. The corpus and samples of the other half are measured against
it, at equal numbers of documents and of words. So the other half shows how much human text
varies, and only what lies outside that range is called a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from textmad.auditing.audit_rows import (
    Audit,
    AuditRow,
    Part,
    compare_parts,
    parts_by_size,
    split_reference,
)
from textmad.auditing.sources import BUILT_IN, Format, Source, read_source, reading, rows_by_group
from textmad.errors import CorpusError
from textmad.statistics.inference import adjust

__all__ = ["Audit", "AuditRow", "audit"]

MOST_GROUPS = 20


def audit(
    texts: Sequence[str | Path],
    reference: str | Path,
    *,
    text_column: str = "text",
    form: Format = "auto",
    reference_text_column: str | None = None,
    reference_format: Format | None = None,
    group: str | None = None,
    documents: int = 5000,
    min_documents: int = 200,
    max_words: int = 1000,
    max_bad_lines: float = 0.01,
    detector: bool = False,
    seed: int = 0,
) -> Audit:
    """Compare corpora with human text, by file and by group, and return the audit.

    Args:
        texts: what recipes read as `corpus.source`; each is judged by itself.
        reference: human text, the same way.
        text_column: where the text is, in all that have columns.
        form: of all these files, as recipes' `corpus.format`; "auto" goes by their names.
        reference_text_column: the reference's; that of `texts` by default.
        reference_format: the reference's; that of `texts` by default.
        group: a column of `texts`: each of its groups is judged too, across all files.
        documents: how many are compared at most; less where something has less.
        min_documents: smaller groups are left out, smaller files are an error.
        max_words: longer documents are left out, on both sides: in a text that is compared on few
            words one of them would be all that there is.
        max_bad_lines: a source with a larger share of lines that cannot be read is an error.
        detector: train a classifier to tell each from human text (slow).
        seed: of the halving and the samples.

    Raises:
        CorpusError: a source cannot be used, or is too small.
        RecipeError: a column has no effect on a source.
    """
    names, reference = list(map(str, texts)), str(reference)
    _check_names(names, reference)
    _check_numbers(documents, min_documents, max_words, max_bad_lines)
    opened = partial(reading, max_words=max_words, max_bad_lines=max_bad_lines)
    # All are looked for before the first is read, which may take minutes.
    of_human = opened(
        reference,
        reference_text_column,
        reference_format,
        others=(text_column, form),
        prefix="--reference-",
    )
    of_texts = [
        opened(name, group=group)
        if name == BUILT_IN
        else opened(name, text_column, form, group=group)
        for name in names
    ]
    human = read_source(of_human)
    _check_size(
        human, 4 * min_documents, f"as a reference: a half gives samples of {min_documents:,}"
    )
    sources = list(map(read_source, of_texts))
    for source in sources:
        _check_size(source, min_documents)
    notes = [_left_out(source) for source in (human, *sources)]
    parts = [Part("file", s.name, [(s, np.arange(len(s.documents)))]) for s in sources]
    if group is not None:
        groups, note = _groups(sources, group, min_documents)
        parts += groups
        notes.append(note)
    halves = split_reference(human, documents, detector, seed)
    rows: list[AuditRow] = []
    for num, some in parts_by_size(parts, min(documents, len(halves.other) // 2)).items():
        rows += compare_parts(some, num, halves, seed)
    rows.sort(key=lambda row: row.by)  # those of files first
    return Audit(human, tuple(sources), tuple(_adjusted(rows)), tuple(filter(None, notes)))


def _check_names(names: Sequence[str], reference: str) -> None:
    if not names:
        raise CorpusError("texts: expected at least one file")
    seen: dict[str, str] = {}
    for name in names:
        if (place := _place(name)) in seen:
            other = seen[place]
            also = "" if other == name else f" (also as {other})"
            raise CorpusError(f"{name}: is given twice{also}; delete one")
        if place == _place(reference):
            raise CorpusError(f"{name}: is the reference itself; its halves are compared anyway")
        seen[place] = name


def _place(name: str) -> str:
    """What names of the same file or folder have in common."""
    is_path = name != BUILT_IN and Path(name).exists()
    return str(Path(name).resolve()) if is_path else name


def _check_numbers(
    documents: int, min_documents: int, max_words: int, max_bad_lines: float
) -> None:
    if min_documents < 2:
        raise CorpusError(f"--min-documents: {min_documents}: expected at least 2")
    if documents < min_documents:
        raise CorpusError(
            f"--documents: {documents}: expected at least --min-documents, {min_documents}"
        )
    if max_words < 1:
        raise CorpusError(f"--max-words: {max_words}: expected at least 1")
    if not 0 <= max_bad_lines <= 1:
        raise CorpusError(f"--max-bad-lines: {max_bad_lines}: expected a share, from 0 to 1")


def _check_size(source: Source, needed: int, why: str = "") -> None:
    if len(source.documents) < needed:
        raise CorpusError(
            f"{source.name}: {len(source.documents):,} documents; at least {needed:,} are needed"
            f"{why and ' '}{why}. Give more text, or lower --min-documents"
        )


def _groups(sources: Sequence[Source], group: str, min_documents: int) -> tuple[list[Part], str]:
    """The largest groups that are large enough, and what is left out."""
    groups = {name: Part("group", name, pieces) for name, pieces in rows_by_group(sources).items()}
    if not groups:
        raise CorpusError(f"--group {group}: no document has one; give a column that they have")
    sizes = {name: part.num_documents for name, part in groups.items()}
    enough = [name for name in groups if sizes[name] >= min_documents]
    if not enough:
        raise CorpusError(
            f"--group {group}: no group has {min_documents:,} documents (the largest of "
            f"{len(groups):,} has {max(sizes.values())}). Give more text, or lower --min-documents"
        )
    chosen = sorted(enough, key=lambda name: -sizes[name])[:MOST_GROUPS]
    nameless = sum(len(source.documents) for source in sources) - sum(sizes.values())
    parts = [
        f"{len(groups) - len(enough):,} groups of fewer than {min_documents:,} documents"
        if len(enough) < len(groups)
        else "",
        f"{len(enough) - len(chosen):,} groups smaller than the {MOST_GROUPS} shown"
        if len(chosen) < len(enough)
        else "",
        f"{nameless:,} documents without a group" if nameless else "",
    ]
    left_out = ", ".join(filter(None, parts))
    return [groups[name] for name in chosen], left_out and f"Groups leave out {left_out}."


def _adjusted(rows: Sequence[AuditRow]) -> list[AuditRow]:
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
