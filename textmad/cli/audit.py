"""`textmad audit`: compare a corpus with human text, without training a model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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
    texts: Annotated[list[str], typer.Argument(metavar="TEXTS...", help="Files, or folders.")],
    reference: Annotated[str, typer.Option(metavar="HUMAN", help="Human text, or chitchat.")],
    text_column: Annotated[str, typer.Option(metavar="COLUMN", help="Where the text is.")] = "text",
    form: Annotated[
        TextFormat, typer.Option("--format", help="Of all files, if not by their names.")
    ] = TextFormat.AUTO,
    reference_text_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of the reference, if another.")
    ] = None,
    reference_format: Annotated[
        TextFormat | None, typer.Option(help="Of the reference, if another.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Judge each of its values by itself too.")
    ] = None,
    documents: Annotated[int, typer.Option(metavar="N", help="Compared of each, at most.")] = 5000,
    min_documents: Annotated[
        int, typer.Option(metavar="N", help="Smaller groups are left out, smaller files refused.")
    ] = 200,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="Longer documents are left out.")
    ] = 1000,
    max_bad_lines: Annotated[
        float, typer.Option(metavar="SHARE", help="Files with more unreadable lines are refused.")
    ] = 0.01,
    detector: Annotated[
        bool, typer.Option("--detector", help="Train a classifier on each too; slow.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audit.md, .csv, .parquet here.")
    ] = None,
) -> None:
    """Hold a corpus against human text, without any training.

    Diversity, rare words, duplicates, overlap, n-grams, beside what human text is to itself.
    """
    from textmad import auditing
    from textmad.report.audit_page import print_audit, write_audit

    found = auditing.audit(
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
    print_audit(found)
    if out is not None:
        for path in write_audit(found, out):
            print(f"audit: {path}")
