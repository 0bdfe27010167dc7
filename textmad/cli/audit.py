"""`textmad audit`: compare a corpus with human text, without training a model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import at_home


class TextFormat(StrEnum):
    """The formats that `corpus.format` knows."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"
    DATASET = "dataset"
    REDDIT = "reddit"


def audit(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXTS...", callback=at_home, help="Files or folders to examine."),
    ],
    reference: Annotated[
        str,
        typer.Option(
            metavar="HUMAN", callback=at_home, help="Human text: a file, a folder, or chitchat."
        ),
    ],
    text_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column or JSON key of the text.")
    ] = "text",
    form: Annotated[
        TextFormat, typer.Option("--format", help="Format of all files (default: by their names).")
    ] = TextFormat.AUTO,
    reference_text_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The same of the reference, if it differs."),
    ] = None,
    reference_format: Annotated[
        TextFormat | None, typer.Option(help="Format of the reference, if it differs.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Also examine the rows of each value separately."),
    ] = None,
    documents: Annotated[
        int, typer.Option(metavar="N", help="Most documents compared of each corpus.")
    ] = 5000,
    min_documents: Annotated[
        int,
        typer.Option(metavar="N", help="Fewer documents: a group is omitted, a file is an error."),
    ] = 200,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="Longer documents are left out.")
    ] = 1000,
    max_bad_lines: Annotated[
        float,
        typer.Option(metavar="SHARE", help="A larger share of unreadable lines is an error."),
    ] = 0.01,
    detector: Annotated[
        bool, typer.Option("--detector", help="Also train a classifier on each corpus; slow.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", callback=at_home, help="Folder for audit.md, .csv and .parquet."
        ),
    ] = None,
) -> None:
    """Compare a corpus with human text, without training a model.

    Measures diversity, rare words, duplicates, overlap and n-grams, each beside the range in which
    human text itself varies.
    """
    from textmad import auditing
    from textmad.report.audit_page import print_audit, write_audit

    findings = auditing.audit(
        texts,
        reference,
        text_column=text_column,
        form=form.value,
        reference_text_column=reference_text_column,
        reference_format=reference_format.value if reference_format else None,
        group=group,
        documents=documents,
        min_documents=min_documents,
        max_words=max_words,
        max_bad_lines=max_bad_lines,
        detector=detector,
    )
    written = [] if out is None else write_audit(findings, out)
    print_audit(findings)
    for path in written:
        print(f"audit: {path}")
