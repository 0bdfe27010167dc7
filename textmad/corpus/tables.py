"""Read tables: CSV, Parquet, and `datasets` on disk or on the Hub."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmad.corpus.folders import dataset_files
from textmad.corpus.lines import check_ratio, numbered_lines
from textmad.corpus.records import BAD_UTF8, MAX_LINE, NULS, BadLineError, Row, Tally, row_maker
from textmad.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

    from textmad.recipe import Columns, CorpusSettings

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NAMES_SHOWN = 50
_BATCH = 128  # rows held at once: 128 MiB at worst, with 1 MiB each


def read_csv(path: Path, columns: Columns, tally: Tally) -> Iterator[Row]:
    """Yield the rows below the header; comma, double quotes, line breaks inside quotes.

    A bad record counts with all its lines, so an unclosed quote counts as the lines that it
    swallows (at most 1 MiB).

    Raises:
        CorpusError: the header cannot be read, lacks a mapped column or has it twice; see also
            `numbered_lines`.
    """
    to_row, header = row_maker(columns), None
    for number, num_lines, cells in _csv_records(path, tally):
        if header is None:
            if tally.num_bad:
                reasons = ", ".join(tally.bad_counts)
                raise CorpusError(f"{path}: its header line cannot be read ({reasons}); repair it")
            header = cells
            _check_columns(str(path), columns, header, _likely_fault(header))
        elif len(cells) != len(header):
            tally.bad("another number of cells than the header", number, num_lines)
        elif any(_holds_escape(cell) for cell in cells):
            tally.bad(BAD_UTF8, number, num_lines)
        elif any("\0" in cell for cell in cells):
            tally.bad(NULS, number, num_lines)
        elif row := tally.take(to_row, dict(zip(header, cells, strict=True)), number):
            yield row


def _csv_records(path: Path, tally: Tally) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the first line number, the number of lines and the cells of each record."""
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
    """Return why a header may lack a name; "" where that does not show."""
    line = ",".join(header)
    if _holds_escape(line):
        return "The file is not UTF-8: save it as UTF-8"
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in line:
            return f"Its columns seem to be separated by {name}: expected commas"
    return ""


def _holds_escape(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def read_parquet(path: Path, columns: Columns, tally: Tally) -> Iterator[Row]:
    """Yield the rows of a Parquet file, a batch at a time.

    Raises:
        CorpusError: not Parquet, damaged, a decompression bomb, or without a mapped column.
    """
    batches = _parquet_batches(path, columns)
    yield from _rows(str(path), batches, columns, tally, path.stat().st_size)


def _parquet_batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    mapped = _mapped(columns)
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(str(path), columns, file.schema_arrow)
            _check_sizes(path, mapped, file.metadata)
            texts = [name for name in mapped if _is_text(file.schema_arrow.field(name).type)]
        # As dictionaries, so that a long value that many rows share is held once.
        with pq.ParquetFile(
            path, buffer_size=2**20, pre_buffer=False, read_dictionary=texts
        ) as file:
            yield from file.iter_batches(_BATCH, columns=mapped, use_threads=False)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise CorpusError(
            f"{path}: cannot be read as Parquet ({error}); get the file again or set corpus.format"
        ) from None


def _check_sizes(path: Path, mapped: list[str], metadata: Any) -> None:
    """Check a file's own account of its sizes: a decompression bomb is an error."""
    num_bytes = metadata.num_rows
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema in mapped:
                num_bytes += column.total_uncompressed_size
    check_ratio(path, num_bytes, path.stat().st_size)


def read_dataset(settings: CorpusSettings, folder: Path | None, tally: Tally) -> Iterator[Row]:
    """Yield the rows of a `save_to_disk` folder (memory-mapped) or of a Hub dataset (streamed).

    Raises:
        CorpusError: no such dataset, split or column, or the Hub cannot be reached.
    """
    source, columns = settings.source, settings.columns
    if folder is None:
        yield from _rows(source, _hub_batches(settings), columns, tally)
        return
    files = dataset_files(folder, settings.split)
    size = sum(file.stat().st_size for file in files)
    yield from _rows(source, _folder_batches(files, columns), columns, tally, size)


def _folder_batches(files: list[Path], columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for path in files:
        try:
            with pa.memory_map(str(path)) as mapped:
                _check_uncompressed(path, mapped)
                mapped.seek(0)
                with pa.ipc.open_stream(mapped) as stream:
                    _check_schema(str(path), columns, stream.schema)
                    for batch in stream:
                        chosen = batch.select(_mapped(columns))
                        for start in range(0, chosen.num_rows, _BATCH):
                            yield chosen.slice(start, _BATCH)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise CorpusError(
                f"{path}: cannot be read as Arrow ({error}); save the dataset again"
            ) from None


def _check_uncompressed(path: Path, file: Any) -> None:
    """Check that no batch is compressed: `save_to_disk` writes none; reading one has no bound."""
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(file):
        if _is_compressed(message.metadata.to_pybytes()):
            raise CorpusError(f"{path}: is compressed inside; save it again with save_to_disk")


def _is_compressed(message: bytes) -> bool:
    """Return whether a message of Arrow's format holds a batch with compressed buffers.

    Read from its Flatbuffer, as pyarrow does not tell (format/Message.fbs: of a Message field 1 is
    the kind of its header and field 2 the header; a RecordBatch is kind 3 and has its compression
    in field 3; a DictionaryBatch is kind 2 and has a RecordBatch in field 1).
    """

    def number(at: int, size: int) -> int:
        return int.from_bytes(message[at : at + size], "little")

    def field(table: int, index: int) -> int:
        """Return where a field of a table stands; 0 where the table has none."""
        offsets = table - number(table, 4)
        offset = number(offsets + 4 + 2 * index, 2) if 4 + 2 * index < number(offsets, 2) else 0
        return table + offset if offset else 0

    root = number(0, 4)
    kind, header = message[field(root, 1)], field(root, 2)
    table = header + number(header, 4)
    if kind == 2:
        data = field(table, 1)
        table = data + number(data, 4)
    return kind in (2, 3) and field(table, 3) != 0


def _hub_batches(settings: CorpusSettings) -> Iterator[pa.Table]:
    import datasets

    source, split, columns = settings.source, settings.split, settings.columns
    try:
        opened: Any = datasets.load_dataset(source, settings.config, split=split, streaming=True)
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


def _rows(
    source: str,
    batches: Iterable[pa.Table | pa.RecordBatch],
    columns: Columns,
    tally: Tally,
    num_compressed: int | None = None,
) -> Iterator[Row]:
    """Yield the rows of batches that were read from so many bytes, None where that is unknown."""
    to_row, number, num_bytes = row_maker(columns), 0, 0
    for batch in batches:
        _check_schema(source, columns, batch.schema)
        for number, record in enumerate(_records(source, batch), number + 1):  # noqa: B020
            num_bytes += 1 + sum(len(value) for value in record.values() if type(value) is str)
            fault = next((v for v in record.values() if isinstance(v, BadLineError)), None)
            if fault is not None:
                tally.bad(str(fault), number)
            elif row := tally.take(to_row, record, number):
                yield row
        if num_compressed is not None:
            check_ratio(source, num_bytes, num_compressed)


def _records(source: str, batch: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    import pyarrow as pa

    from textmad.corpus.columns import values_of

    try:
        columns = [
            [value for chunk in _chunks(column) for value in values_of(chunk)]
            for column in batch.columns
        ]
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise CorpusError(f"{source}: a column is damaged ({error}); get the file again") from None
    names = batch.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _chunks(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return column.chunks if hasattr(column, "chunks") else [column]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _mapped(columns: Columns) -> list[str]:
    """Return the source's names of the mapped columns, each once."""
    return list(dict.fromkeys(name for _, name in columns if name is not None))


def _check_schema(source: str, columns: Columns, schema: pa.Schema) -> None:
    from textmad.corpus.columns import is_plain

    _check_columns(source, columns, schema.names)
    for name in _mapped(columns):
        kind = schema.field(name).type
        if not is_plain(kind):
            raise CorpusError(
                f"{source}: the column {name!r} holds {str(kind)[:100]}; expected one text, number "
                "or time a row"
            )


def _check_columns(source: str, columns: Columns, names: list[str], fault: str = "") -> None:
    for setting, name in columns:
        if name is None:
            continue
        if name not in names:
            raise CorpusError(
                f"{source}: no column {name!r}; it has {_listed(names)}. "
                f"{fault or f'Set corpus.columns.{setting} to one of them'}"
            )
        if names.count(name) > 1:
            raise CorpusError(
                f"{source}: {names.count(name)} columns are called {name!r}, and which of them "
                "is meant is not known; rename or remove the others"
            )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMES_SHOWN]))
    more = len(names) - _NAMES_SHOWN
    return (
        (shown if more <= 0 else f"{shown} and {more:,} more").encode("utf-8", "replace").decode()
    )
