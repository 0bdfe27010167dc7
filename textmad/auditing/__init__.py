"""`textmad audit`: how far a corpus is from human text, without training anything.

The human reference is halved at random. One half is the yardstick: it says which words are rare,
which n-grams are common, what a copy is. The corpus and samples of the other half are held
against it, at equal numbers of documents and of words; so the other half says how far human text
is from itself, and only what lies outside of that can be called a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textmad.auditing.ceiling import Ceiling, ceiling
from textmad.auditing.comparing import Part, by_size, compared, halved
from textmad.auditing.findings import Audit, Row
from textmad.auditing.page import print_audit, write_audit
from textmad.auditing.sources import Format, Source, read_source, rows_by_group
from textmad.errors import CorpusError
from textmad.stats import adjust

__all__ = ["Audit", "Ceiling", "Row", "audit", "ceiling", "print_audit", "write_audit"]

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
    parts = [Part("file", s.name, [(s, np.arange(len(s.documents)))]) for s in sources]
    if group is not None:
        groups, note = _groups(sources, group, min_documents)
        parts += groups
        notes.append(note)
    human_halves = halved(human, documents, detector, seed)
    rows: list[Row] = []
    for num, some in by_size(parts, min(documents, len(human_halves.other) // 2)).items():
        rows += compared(some, num, human_halves, seed)
    rows.sort(key=lambda row: row.by)  # those of files first
    return Audit(human, tuple(sources), tuple(_adjusted(rows)), tuple(filter(None, notes)))


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


def _check_size(source: Source, needed: int, why: str = "") -> None:
    if len(source.documents) < needed:
        raise CorpusError(
            f"{source.name}: {len(source.documents):,} documents; at least {needed:,} are needed"
            f"{why and ' '}{why}. Give more text, or lower --min-documents"
        )


def _groups(sources: Sequence[Source], group: str, min_documents: int) -> tuple[list[Part], str]:
    """The largest groups that are large enough, and what is left out."""
    found = {name: Part("group", name, pieces) for name, pieces in rows_by_group(sources).items()}
    sizes = {name: part.num_documents for name, part in found.items()}
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
    return [found[name] for name in chosen], left_out and f"Groups leave out {left_out}."


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
