"""Votes as files: JSONL and CSV, written and read back; and the labels that they give together."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from textmad.errors import RunError
from textmad.rating.records import Vote
from textmad.rating.reliability import label_posteriors

_COLUMNS = Vote._fields
# What a spreadsheet takes for the beginning of a formula, behind our own apostrophes.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write_votes(path: Path, votes: Sequence[Vote]) -> None:
    """Write votes as JSONL or CSV, by the name's ending; in CSV documents are joined by spaces.

    Raises:
        RunError: another ending, or the file cannot be written.
    """
    _write_rows(path, _COLUMNS, votes)


def write_labels(path: Path, votes: Sequence[Sequence[Vote]]) -> int:
    """Write what the raters of each ballot say together about its items; return how many items.

    A row for each item and value: ballot, item, documents, value, and the probability of the value
    by Dawid and Skene's model (`textmad.rating.reliability.label_posteriors`). Ballots whose votes
    are all equal have none.

    Raises:
        RunError: the name ends in neither .jsonl nor .csv, or it cannot be written.
    """
    columns = ("ballot", "item", "documents", "value", "probability")
    rows, num_items = [], 0
    for of_ballot in votes:
        labels = label_posteriors(of_ballot)
        if labels is None:
            continue
        documents = {vote.item: vote.documents for vote in of_ballot}
        num_items += len(labels.items)
        for item, probabilities in zip(labels.items, labels.posterior.tolist(), strict=True):
            rows += [
                (of_ballot[0].ballot, item, documents[item], value, round(probability, 6))
                for value, probability in zip(labels.values, probabilities, strict=True)
            ]
    _write_rows(path, columns, rows)
    return num_items


def read_votes_file(path: Path) -> list[Vote]:
    """Read votes from JSONL or CSV.

    Only ballot, item, documents, rater and value are required: those of a lab's own tool.

    Raises:
        RunError: it cannot be read; it names the line.
    """
    is_csv = _is_csv(path)
    rows: list[str | Mapping[str, Any]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows += _csv_rows(file) if is_csv else file.read().splitlines()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    first = 2 if is_csv else 1
    return [_vote(path, number, row) for number, row in enumerate(rows, first)]


def _write_rows(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    is_csv = _is_csv(path)
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            if is_csv:
                writer = csv.writer(file)
                writer.writerow(columns)
                for row in rows:
                    cells = (" ".join(x) if isinstance(x, tuple) else x for x in row)
                    writer.writerow([formula_free(x) if isinstance(x, str) else x for x in cells])
            else:
                fields = (dict(zip(columns, row, strict=True)) for row in rows)
                file.writelines(json.dumps(each) + "\n" for each in fields)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


def _vote(path: Path, number: int, row: str | Mapping[str, Any]) -> Vote:
    try:
        fields = json.loads(row) if isinstance(row, str) else dict(row)
        documents = fields["documents"]
        gold = fields.get("gold")
        rater = str(fields["rater"]).strip()
        if not rater or len(rater) > 100:
            raise ValueError("rater: expected 1 to 100 characters")
        return Vote(
            ballot=str(fields["ballot"]),
            item=int(fields["item"]),
            documents=tuple(documents.split() if isinstance(documents, str) else documents),
            gold=None if gold in (None, "") else int(gold),
            rater=rater,
            showing=int(fields.get("showing") or 0),
            value=int(fields["value"]),
            screen_position=int(fields.get("screen_position") or 0),
            seconds=float(fields.get("seconds") or 0),
            cast_at=float(fields.get("cast_at") or 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}, line {number}: is no vote ({error}): expected ballot, item, documents, rater "
            "and value, as `textmad votes --export` writes them"
        ) from None


def formula_free(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe stands before it.

    >>> formula_free("=1+1"), formula_free("a=1")
    ("'=1+1", 'a=1')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _csv_rows(file: TextIO) -> list[dict[str, str]]:
    """Read the rows, each without the apostrophes of `formula_free`."""
    return [
        {
            name: cell[1:] if cell and cell[0] == "'" and _FORMULA.match(cell) else cell
            for name, cell in row.items()
        }
        for row in csv.DictReader(file)
    ]


def _is_csv(path: Path) -> bool:
    if path.suffix not in (".csv", ".jsonl"):
        raise RunError(f"{path}: expected a name that ends in .jsonl or .csv")
    return path.suffix == ".csv"
