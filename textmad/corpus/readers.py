"""Recognise the format of a source; read the formats with lines: JSONL, Reddit dumps, text."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from textmad.corpus.chitchat import read_chitchat
from textmad.corpus.lines import COMPRESSED, numbered_lines
from textmad.corpus.records import Row, Tally, ToRow, row_maker
from textmad.corpus.reddit import REDDIT_KEYS, reddit_row
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
_LONGEST_SHOWN = 200  # characters of a path in a message
_HUB_NAME = re.compile(r"[a-zA-Z0-9][\w.-]*(/[a-zA-Z0-9][\w.-]*)?")


def read_rows(
    settings: CorpusSettings, tally: Tally, *, may_lack_community: bool = False
) -> Iterator[Row]:
    """Yield the rows of `settings.source` in their order, and count bad lines in `tally`.

    After the last row, `tally.check` says whether there were too many bad lines. With
    `may_lack_community`, a line of JSON may lack the key of the community.

    Raises:
        CorpusError: the source does not exist or cannot be read at all.
        RecipeError: a setting has no effect on this format.
    """
    form, columns = source_format(settings), settings.columns
    path = source_path(settings.source)
    match form:
        case "chitchat":
            for row in read_chitchat():
                tally.good += 1
                yield row
        case "jsonl":
            to_row = row_maker(columns, tally, may_lack_community=may_lack_community)
            keys = [name for _, name in columns if name is not None]
            yield from read_json_lines(path, to_row, tally, keys)
        case "reddit":
            yield from read_json_lines(path, reddit_row, tally, REDDIT_KEYS)
        case "text":
            yield from read_text(path, tally)
        case "csv":
            yield from read_csv(path, columns, tally)
        case "parquet":
            yield from read_parquet(path, columns, tally)
        case "dataset":
            yield from read_dataset(settings, path if path.is_dir() else None, tally)


def read_json_lines(path: Path, to_row: ToRow, tally: Tally, keys: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each line, a JSON object by RFC 8259. NaN and Infinity are not JSON.

    A line that has one of `keys` twice is bad.
    """
    decode = json.JSONDecoder(parse_constant=_no_constant).raw_decode
    quoted = [json.dumps(key, ensure_ascii=False) for key in keys]
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
        # Counting is quick and may be wrong: the key may stand in a text or in an inner object.
        elif any(line.count(key) > 1 for key in quoted) and (twice := _given_twice(line, keys)):
            tally.bad(f"{twice!r} is given twice", number)
        elif row := tally.take(to_row, record, number):
            yield row


def _given_twice(line: str, keys: Sequence[str]) -> str | None:
    """Return the first of `keys` that the line's object has more than once."""
    names: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        names[:] = [name for name, _ in pairs]  # the outermost object comes last

    json.JSONDecoder(object_pairs_hook=keep).decode(line)
    times = Counter(names)
    return next((key for key in keys if times[key] > 1), None)


def read_text(path: Path, tally: Tally) -> Iterator[Row]:
    """Yield a row for each line that is not blank."""
    for _, line in numbered_lines(path, tally):
        if line and not line.isspace():
            tally.good += 1
            yield Row(line.removesuffix("\r"))


def source_format(settings: CorpusSettings) -> SourceFormat:
    """Return the format of the source, by `format` or by its name. No file is opened.

    >>> source_format(CorpusSettings(source="chitchat"))
    'chitchat'

    Raises:
        CorpusError: there is no such file, it is no regular file, or its name does not tell its
            format.
        RecipeError: a setting has no effect on such a source.
    """
    form = _recognise(settings)
    if form in ("chitchat", "text", "reddit") and settings.columns != Columns():
        raise RecipeError(f"corpus.columns: has no effect on a {form} source; delete it")
    if form == "chitchat" and settings.format != "auto":
        raise RecipeError(f"corpus.format: {settings.format} has no effect on chitchat; delete it")
    if form != "dataset" and settings.split != "train":
        raise RecipeError(f"corpus.split: {settings.split} has no effect on a {form} source")
    if settings.config is not None and (form != "dataset" or source_path(settings.source).is_dir()):
        kind = "folder" if form == "dataset" else f"{form} source"
        raise RecipeError(f"corpus.config: {settings.config} has no effect on a {kind}; delete it")
    return form


def _recognise(settings: CorpusSettings) -> SourceFormat:
    source = settings.source
    if source == "chitchat":
        return "chitchat"
    path = source_path(source)
    kind = _kind(source, path)
    by_name = _SUFFIXES.get(_plain_suffix(path))
    is_hub_name = _HUB_NAME.fullmatch(source) and settings.format in ("auto", "dataset")
    if kind == "folder":
        if settings.format not in ("auto", "dataset"):
            raise CorpusError(
                f"{source}: is a folder; corpus.format: {settings.format} reads files"
            )
        return "dataset"
    if kind == "missing":
        if is_hub_name and not by_name and path.suffix.lower() not in COMPRESSED:
            return "dataset"
        raise CorpusError(f"{source}: no such file; corpus.source is relative to {Path.cwd()}")
    if settings.format == "dataset":
        raise CorpusError(f"{source}: is a file; corpus.format: dataset reads a folder or a name")
    if settings.format == "auto" and by_name is None:
        raise CorpusError(
            f"{source}: its name does not tell its format (known: {', '.join(_SUFFIXES)}, the "
            f"text ones also with {', '.join(COMPRESSED)} behind); set corpus.format, "
            "for Reddit dumps to reddit"
        )
    form = cast(SourceFormat, by_name if settings.format == "auto" else settings.format)
    if form == "parquet" and path.suffix.lower() in COMPRESSED:
        raise CorpusError(f"{source}: Parquet is compressed inside; decompress the file first")
    return form


def source_path(source: str) -> Path:
    """Return the path that `corpus.source` stands for; `~` is the home folder.

    Raises:
        CorpusError: it cannot be a path.
    """
    try:
        source.encode()
        if "\0" in source:
            raise ValueError("it holds a NUL byte")
        return Path(source).expanduser()
    except UnicodeEncodeError:
        raise CorpusError(f"{source!r}: the path is not UTF-8; rename the file") from None
    except (ValueError, RuntimeError) as error:
        raise CorpusError(f"{source!r}: is no path: {error}") from None


def _kind(source: str, path: Path) -> Literal["file", "folder", "missing"]:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:  # no permission, too long, links in a circle
        shortened = source if len(source) <= _LONGEST_SHOWN else f"{source[:_LONGEST_SHOWN]}..."
        raise CorpusError(f"{shortened}: cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        raise CorpusError(
            f"{source}: is no regular file but a pipe, socket or device; corpus.source has to be "
            "a file that can be read again: write it to disk first"
        )
    return "file"


def _plain_suffix(path: Path) -> str:
    """Return the suffix before that of a compression."""
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
