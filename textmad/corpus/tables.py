"""Readers of tables: CSV, Parquet, and `datasets` on disk or on the Hub."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmad.corpus.lines import numbered_lines
from textmad.corpus.records import BAD_UTF8, MAX_LINE, Tally, row_maker
from textmad.corpus.rows import Row
from textmad.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

    from textmad.recipe import Columns, CorpusSettings

_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")  # the byte order marks, escaped
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_BATCH = 128  # rows held at once: 128 MiB at worst, with 1 MiB each


def read_csv(path: Path, columns: Columns, tally: Tally) -> Iterator[Row]:
    """The rows below the header; comma, double quotes, line breaks inside quotes.

    A bad record counts with all its lines, so an unclosed quote is not one fault among many
    lines but as many as it swallows (at most 1 MiB).

    Raises:
        CorpusError: the header lacks a mapped column; see also `numbered_lines`.
    """
    to_row, header = row_maker(columns), None
    for number, num_lines, cells in _csv_records(path, tally):
        if header is None:
            header = cells
            _check_columns(str(path), columns, header, _likely_fault(header))
        elif len(cells) != len(header):
            tally.bad("another number of cells than the header", number, num_lines)
        elif any(_holds_escape(cell) for cell in cells):
            tally.bad(BAD_UTF8, number, num_lines)
        elif row := tally.take(to_row, dict(zip(header, cells, strict=True)), number):
            yield row


def _csv_records(path: Path, tally: Tally) -> Iterator[tuple[int, int, list[str]]]:
    """First line number, number of lines and cells of each record."""
    csv.field_size_limit(MAX_LINE)  # of the whole process; the module has no other way
    span: list[int] = []  # numbers of the lines of the record at hand

    def physical_lines() -> Iterator[str]:
        # Bytes that are not UTF-8 pass through escaped: cutting the line could open a quote.
        for number, line in numbered_lines(path, tally, errors="surrogateescape"):
            span.append(number)
            yield line + "\n"

    lines = physical_lines()
    reader = csv.reader(lines, strict=True)
    while True:
        span.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            tally.bad(f"not CSV: {error}", span[0], len(span))
            reader = csv.reader(lines, strict=True)
            continue
        if cells is None:
            return
        if cells:
            yield span[0], len(span), cells


def _likely_fault(header: list[str]) -> str:
    """Why a header has none of the names that are looked for, where it shows."""
    line = ",".join(header)
    if "\0" in line or line.startswith(_UTF16_MARKS):
        return "The file seems to be UTF-16: save it as UTF-8"
    if _holds_escape(line):
        return "The file is not UTF-8: save it as UTF-8"
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in line:
            return f"Its columns seem to be separated by {name}: expected commas"
    return ""


def _holds_escape(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def read_parquet(path: Path, columns: Columns, tally: Tally) -> Iterator[Row]:
    """The rows of a Parquet file, a batch at a time.

    Raises:
        CorpusError: not Parquet, damaged, or without a mapped column.
    """
    yield from _rows(str(path), _parquet_batches(path, columns), columns, tally)


def _parquet_batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            _check_columns(str(path), columns, file.schema_arrow.names)
            yield from file.iter_batches(_BATCH, columns=_mapped(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{path}: cannot be read as Parquet ({error}); get the file again or set corpus.format"
        ) from None


def read_dataset(settings: CorpusSettings, tally: Tally) -> Iterator[Row]:
    """The rows of a `save_to_disk` folder (memory-mapped) or of a Hub dataset (streamed).

    Raises:
        CorpusError: no such dataset, split or column, or the Hub cannot be reached.
    """
    yield from _rows(settings.source, _dataset_batches(settings), settings.columns, tally)


def _dataset_batches(settings: CorpusSettings) -> Iterator[pa.Table]:
    source, split, columns = settings.source, settings.split, settings.columns
    opened: Any = _open_folder(source, split) if Path(source).is_dir() else None
    try:
        if opened is None:
            import datasets

            opened = datasets.load_dataset(source, settings.config, split=split, streaming=True)
        if opened.column_names is not None:  # some streams do not know before they begin
            _check_columns(source, columns, opened.column_names)
        yield from opened.select_columns(_mapped(columns)).with_format("arrow").iter(_BATCH)
    except CorpusError:
        raise
    except Exception as error:  # the network's, the Hub's or a file format's: no common type
        raise CorpusError(
            f"{source}: cannot be read as a dataset, split {split!r} "
            f"({type(error).__name__}: {error}); give corpus.source a file, a folder written by "
            "save_to_disk, or the name of a Hub dataset that can be reached from here"
        ) from error


def _open_folder(folder: str, split: str) -> Any:
    import datasets

    try:
        opened = datasets.load_from_disk(folder)
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{folder}: not a folder that datasets' save_to_disk wrote ({error}); "
            "give corpus.source such a folder, or one file"
        ) from None
    if not isinstance(opened, datasets.DatasetDict):
        return opened
    if split not in opened:
        raise CorpusError(
            f"{folder}: no split {split!r}; set corpus.split to one of {', '.join(opened)}"
        )
    return opened[split]


def _rows(
    source: str, batches: Iterable[pa.Table | pa.RecordBatch], columns: Columns, tally: Tally
) -> Iterator[Row]:
    to_row, number = row_maker(columns), 0
    for batch in batches:
        _check_columns(source, columns, batch.schema.names)
        for number, record in enumerate(_records(batch), number + 1):  # noqa: B020
            if record is None:
                tally.bad(BAD_UTF8, number)
            elif row := tally.take(to_row, record, number):
                yield row


def _records(batch: pa.Table | pa.RecordBatch) -> list[dict[str, Any] | None]:
    """The batch's rows; None for one that is not UTF-8 (Parquet does not check)."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [None]
    half = batch.num_rows // 2
    return _records(batch.slice(0, half)) + _records(batch.slice(half))


def _mapped(columns: Columns) -> list[str]:
    """The source's names of the mapped columns, each once."""
    return list(dict.fromkeys(name for _, name in columns if name is not None))


def _check_columns(source: str, columns: Columns, names: list[str], fault: str = "") -> None:
    for setting, name in columns:
        if name is not None and name not in names:
            raise CorpusError(
                f"{source}: no column {name!r}; it has {', '.join(map(repr, names))}. "
                f"{fault or f'Set corpus.columns.{setting} to one of them'}"
            )
