"""An audit as sentences, tables, and Markdown, HTML and data files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from textmad.auditing.audit_rows import MEASURED, Audit, AuditRow
from textmad.evaluators.metrics import value_range
from textmad.report.comparison.page import parquet_bytes
from textmad.report.escaping import csv_bytes, markdown
from textmad.report.numbers import MISSING, show_number
from textmad.report.page import template
from textmad.report.tables import Table, print_words, show, to_markdown

NAMES_BESIDE = 6  # files or groups of one table
_NAMED = 3  # figures of a verdict
_MARKS = {("above", True): " ▲", ("below", True): " ▼"}
_MARKS |= {("above", False): " △", ("below", False): " ▽"}
_KINDS = {
    "document_words": "length",
    "rare_rate": "rare words",
    "surviving_rare_types": "rare words",
    "unseen_mass": "rare words",
    "repeated_share": "duplicates",
    "near_repeated_share": "duplicates",
    "overlap": "overlap with the reference",
    "copied_documents": "overlap with the reference",
    "near_copied_documents": "overlap with the reference",
    "ngram_gap_1": "distribution of n-grams",
    "ngram_gap_2": "distribution of n-grams",
    "ngram_gap_3": "distribution of n-grams",
    "detection_auc": "detector",
}
_LEGEND = (
    "Human: where 95 % of human texts of the same size are expected, from samples of the "
    "reference's other half. ▲ above and ▼ below it, also when as many figures are looked at "
    "(Holm, 5 %); △ and ▽ outside, as at most one figure in twenty is by chance."
)


def verdict(audit: Audit) -> list[str]:
    """Return what lies outside the range of human text, a paragraph a file, then all groups."""
    files = [" ".join(_of_file(name, rows)) for name, rows in _by_name(audit, "file")]
    groups = list(_by_name(audit, "group"))
    return [*files, _of_groups(groups)] if groups else files


def to_page(audit: Audit) -> str:
    """Return the audit as Markdown."""
    parts = [
        f"# {markdown(_title(audit))}",
        *map(markdown, verdict(audit)),
        "## What was read",
        to_markdown(_sources_table(audit)),
    ]
    for heading, tables in _tables_by_heading(audit).items():
        for table in tables:
            parts += [f"## {heading}", to_markdown(table)]
    return "\n\n".join([*parts, _LEGEND, *map(markdown, audit.notes)]) + "\n"


def to_html(audit: Audit) -> str:
    """Return the audit as one HTML page that loads nothing."""
    return template("audit.html.j2").render(
        title=_title(audit),
        sentences=verdict(audit),
        sources=_sources_table(audit),
        tables=_tables_by_heading(audit),
        notes=[_LEGEND, *audit.notes],
    )


def print_audit(audit: Audit) -> None:
    """Print the verdict, then the tables: for a terminal, or as Markdown elsewhere."""
    for line in (*verdict(audit), ""):
        print_words(line)
    for tables in ([_sources_table(audit)], *_tables_by_heading(audit).values()):
        for table in tables:
            show(table)
            print()
    for line in (_LEGEND, *audit.notes):
        print_words(line)


def write_audit(audit: Audit, folder: str | Path) -> list[Path]:
    """Write audit.md, .html, .csv and .parquet; equal audits give equal bytes.

    Raises:
        RunError: the folder cannot be written.
    """
    from textmad.store import write_atomically, writing

    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "md": to_page(audit).encode(),
        "html": to_html(audit).encode(),
        "csv": csv_bytes(audit.table),
        "parquet": parquet_bytes(audit.table),
    }
    for ending, data in contents.items():
        write_atomically(folder / f"audit.{ending}", data)
    return [folder / f"audit.{ending}" for ending in contents]


def _title(audit: Audit) -> str:
    return f"Audit against {audit.reference.name}"


def _tables_by_heading(audit: Audit) -> dict[str, list[Table]]:
    """The tables of files and, where there are any, of groups."""
    tables = {f"By {by}": list(_tables(audit, by)) for by in ("file", "group")}
    return {heading: each for heading, each in tables.items() if each}


def _of_file(name: str, rows: Sequence[AuditRow]) -> Iterator[str]:
    measured = [row for row in rows if row.side]
    far = sorted((row for row in measured if row.differs), key=lambda row: -row.distance)
    if not far:
        yield (
            f"{name}: none of {len(measured)} figures lies outside the range of human text. With "
            f"{rows[0].sizes.documents:,} documents no difference is supported; there may still be "
            "one."
        )
        return
    named = "; ".join(
        f"{_label(row)} {show_number(row.value)} ({row.side} human {_range(row)})"
        for row in far[:_NAMED]
    )
    yield f"{name}: {len(far)} of {len(measured)} figures lie outside the range of human text."
    yield f"Furthest out: {named}."
    yield _kinds(measured)


def _kinds(rows: Sequence[AuditRow]) -> str:
    """Which kinds of figures differ, and which do not."""
    kinds: dict[str, list[AuditRow]] = {}
    for row in rows:
        kinds.setdefault(_KINDS.get(row.metric, "diversity"), []).append(row)
    outside = {kind: sum(row.differs for row in some) for kind, some in kinds.items()}
    differing = [f"{kind} ({num} of {len(kinds[kind])})" for kind, num in outside.items() if num]
    same = [kind for kind, num in outside.items() if not num]
    within = f"; not outside: {', '.join(same)}" if same else ""
    return f"Outside: {', '.join(differing)}{within}."


def _of_groups(groups: Sequence[tuple[str, Sequence[AuditRow]]]) -> str:
    outside = [(name, sum(row.differs for row in rows)) for name, rows in groups]
    far = [f"{name} ({num})" for name, num in sorted(outside, key=lambda o: (-o[1], o[0])) if num]
    figures = len([row for row in groups[0][1] if row.side])
    named = f": {', '.join(far)}" if far else ""
    return (
        f"Of {len(groups)} groups {len(far)} lie outside the range of human text in some of "
        f"{figures} figures{named}."
    )


def _sources_table(audit: Audit) -> Table:
    header = ("source", "", "", "documents", "repeated", "share")
    lines = tuple(
        (
            source.name,
            "reference" if source is audit.reference else "",
            "",
            f"{len(source.documents):,}",
            f"{source.repeated:,}",
            f"{source.repeated / len(source.documents):.1%}",
        )
        for source in (audit.reference, *audit.sources)
    )
    return Table(header, lines, ("Repeated: equal, after cleaning, to an earlier document.",))


def _tables(audit: Audit, by: str) -> Iterator[Table]:
    parts = list(_by_name(audit, by))
    for begin in range(0, len(parts), NAMES_BESIDE):
        yield _table(parts[begin : begin + NAMES_BESIDE])


def _table(parts: Sequence[tuple[str, Sequence[AuditRow]]]) -> Table:
    header = ("metric", "unit", "human", *(name for name, _ in parts))
    lines, notes = [], []
    for same in zip(*(rows for _, rows in parts), strict=True):
        first = same[0]
        lines.append((_label(first), MEASURED[first.metric].unit, _range(first), *map(_cell, same)))
        notes += [
            f"{MISSING} {_label(row)} ({row.name}): {row.note}." for row in same if not row.side
        ]
    sizes = parts[0][1][0].sizes
    size = (
        f"Of each {sizes.documents:,} documents, or of these {sizes.words:,} words, are compared."
    )
    return Table(header, tuple(lines), (size, *notes))


def _by_name(audit: Audit, by: str) -> Iterator[tuple[str, list[AuditRow]]]:
    for name in dict.fromkeys(row.name for row in audit.rows if row.by == by):
        yield name, [row for row in audit.rows if (row.by, row.name) == (by, name)]


def _label(row: AuditRow) -> str:
    label = MEASURED[row.metric].label
    return f"{label}, {row.bin}" if row.bin else label


def _range(row: AuditRow) -> str:
    if math.isnan(row.human.low):
        return MISSING
    least, most = value_range(MEASURED[row.metric])
    low, high = max(row.human.low, least), min(row.human.high, most)
    return f"{show_number(low)} to {show_number(high)}"


def _cell(row: AuditRow) -> str:
    if not row.side:
        return MISSING
    return show_number(row.value) + _MARKS.get((row.side, row.differs), "")
