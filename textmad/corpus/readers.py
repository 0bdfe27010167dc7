"""Which reader a source needs, and the readers of lines: JSONL, Reddit dumps, plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NoReturn, cast

from textmad.corpus.chitchat import read_chitchat
from textmad.corpus.lines import numbered_lines
from textmad.corpus.records import Tally, ToRow, row_maker
from textmad.corpus.reddit import reddit_row
from textmad.corpus.rows import Row
from textmad.corpus.tables import read_csv, read_dataset, read_parquet
from textmad.errors import CorpusError, RecipeError
from textmad.recipe import Columns, CorpusSettings

SourceFormat = Literal["chitchat", "jsonl", "csv", "parquet", "text", "dataset", "reddit"]
_SUFFIXES: dict[str, SourceFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
}
_COMPRESSED = (".gz", ".zst")
_HUB_NAME = re.compile(r"[a-zA-Z0-9][\w.-]*(/[a-zA-Z0-9][\w.-]*)?")


def read_rows(
    settings: CorpusSettings, tally: Tally, *, may_lack_community: bool = False
) -> Iterator[Row]:
    """The rows of `settings.source`, in its order, streamed; bad lines go to `tally`.

    Whether the bad ones are too many is for `tally.check` to say, once all is read. JSON without
    the community's key is bad, unless `may_lack_community`: then it is of none.

    Raises:
        CorpusError: the source does not exist or cannot be read at all.
        RecipeError: a setting has no effect on such a source.
    """
    form, columns, path = source_format(settings), settings.columns, Path(settings.source)
    match form:
        case "chitchat":
            for row in read_chitchat():
                tally.good += 1
                yield row
        case "jsonl":
            to_row = row_maker(columns, may_lack_community=may_lack_community)
            yield from read_json_lines(path, to_row, tally)
        case "reddit":
            yield from read_json_lines(path, reddit_row, tally)
        case "text":
            yield from read_text(path, tally)
        case "csv":
            yield from read_csv(path, columns, tally)
        case "parquet":
            yield from read_parquet(path, columns, tally)
        case "dataset":
            yield from read_dataset(settings, tally)


def read_json_lines(path: Path, to_row: ToRow, tally: Tally) -> Iterator[Row]:
    """One JSON object a line, by RFC 8259: NaN and Infinity are not JSON.

    Of a key given twice the last one counts, as nearly every JSON library has it.
    """
    decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
    take = tally.take
    for number, line in numbered_lines(path, tally):
        line = line.strip(" \t\r")
        if not line:
            continue
        try:
            record, end = decode(line)
        except (ValueError, RecursionError):
            tally.bad("not JSON", number)
            continue
        if end != len(line):
            tally.bad("not JSON", number)
        elif type(record) is not dict:
            tally.bad("not a JSON object", number)
        elif row := take(to_row, record, number):
            yield row


def read_text(path: Path, tally: Tally) -> Iterator[Row]:
    """One document a line; blank lines are passed over."""
    for _, line in numbered_lines(path, tally):
        if line and not line.isspace():
            tally.good += 1
            yield Row(line.removesuffix("\r"))


def source_format(settings: CorpusSettings) -> SourceFormat:
    """What kind of source it is: by `format`, else by the name. Opens nothing.

    >>> source_format(CorpusSettings(source="chitchat"))
    'chitchat'

    Raises:
        CorpusError: there is no such file, or its name does not tell its format.
        RecipeError: a setting has no effect on such a source.
    """
    form = _recognise(settings)
    if form in ("chitchat", "text", "reddit") and settings.columns != Columns():
        raise RecipeError(f"corpus.columns: has no effect on a {form} source; delete it")
    if form == "chitchat" and settings.format != "auto":
        raise RecipeError(f"corpus.format: {settings.format} has no effect on chitchat; delete it")
    if form != "dataset" and settings.split != "train":
        raise RecipeError(f"corpus.split: {settings.split} has no effect on a {form} source")
    if settings.config is not None and (form != "dataset" or Path(settings.source).is_dir()):
        kind = "folder" if form == "dataset" else f"{form} source"
        raise RecipeError(f"corpus.config: {settings.config} has no effect on a {kind}; delete it")
    return form


def _recognise(settings: CorpusSettings) -> SourceFormat:
    source, path = settings.source, Path(settings.source)
    if source == "chitchat":
        return "chitchat"
    by_name = _SUFFIXES.get(_plain_suffix(path))
    is_hub_name = _HUB_NAME.fullmatch(source) and settings.format in ("auto", "dataset")
    if path.is_dir():
        if settings.format not in ("auto", "dataset"):
            raise CorpusError(
                f"{source}: is a folder; corpus.format: {settings.format} reads files"
            )
        return "dataset"
    if not path.exists():
        if is_hub_name and not by_name and path.suffix.lower() not in _COMPRESSED:
            return "dataset"
        raise CorpusError(f"{source}: no such file; corpus.source is relative to {Path.cwd()}")
    if settings.format == "dataset":
        raise CorpusError(f"{source}: is a file; corpus.format: dataset reads a folder or a name")
    if settings.format == "auto" and by_name is None:
        raise CorpusError(
            f"{source}: its name does not tell its format (known: {', '.join(_SUFFIXES)}, the "
            "text ones also with .gz or .zst behind); set corpus.format, for Reddit dumps to reddit"
        )
    form = cast(SourceFormat, by_name if settings.format == "auto" else settings.format)
    if form == "parquet" and path.suffix.lower() in _COMPRESSED:
        raise CorpusError(f"{source}: Parquet is compressed inside; decompress the file first")
    return form


def _plain_suffix(path: Path) -> str:
    """The suffix before .gz or .zst."""
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
