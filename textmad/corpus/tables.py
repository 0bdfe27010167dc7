"""Read tables: CSV, Parquet, and data sets of `datasets` on disk or on the Hub."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmad.corpus.folders import dataset_files
from textmad.corpus.lines import check_ratio, numbered_lines
from textmad.corpus.records import BAD_UTF8, MAX_LINE, NULS, BadLineError, Row, Tally, row_maker
from textmad.errors import CorpusError, disk_error

if TYPE_CHECKING:
    import pyarrow as pa

    from textmad.recipe import Columns, CorpusSettings

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NAMES_SHOWN = 50
_BATCH = 128  # rows in memory at once: at most 128 MiB, as a row has at most 1 MiB


def read_csv(path: Path, columns: Columns, tally: Tally) -> Iterator[Row]:
    """Yield the rows below the header: commas, double quotes, line breaks inside quotes.

    All lines of a bad record count as bad. An unclosed quote takes in lines up to 1 MiB.

    Raises:
        CorpusError: the header cannot be read, lacks a mapped column or has it twice; or an error
            of `numbered_lines`.
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
    csv.field_size_limit(MAX_LINE)  # for the whole process; csv knows no other limit
    line_numbers: list[int] = []  # of the current record

    def physical_lines() -> Iterator[str]:
        # Bytes that are not UTF-8 stay, escaped: without their line a quote could stay open.
        for number, line in numbered_lines(path, tally, errors="surrogateescape"):
            line_numbers.append(number)
            yield line + "\n"

    lines = physical_lines()
    reader = csv.reader(lines, strict=True)
    while True:
        line_numbers.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            tally.bad(f"not CSV: {error}", line_numbers[0], len(line_numbers))
            reader = csv.reader(lines, strict=True)
            continue
        if cells is None:
            return
        if cells:
            yield line_numbers[0], len(line_numbers), cells


def _likely_fault(header: list[str]) -> str:
    """Return a likely reason why the header lacks a name; "" if none is seen."""
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
        CorpusError: the file is not Parquet, is damaged, is a decompression bomb, or lacks a mapped
            column.
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
        # As dictionaries: a long value that many rows share is in memory once.
        with pq.ParquetFile(
            path, buffer_size=2**20, pre_buffer=False, read_dictionary=texts
        ) as file:
            yield from file.iter_batches(_BATCH, columns=mapped, use_threads=False)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        _check_disk(str(path), error)
        raise CorpusError(
            f"{path}: cannot be read as Parquet ({error}); get the file again or set corpus.format"
        ) from None


def _check_sizes(path: Path, mapped: list[str], metadata: Any) -> None:
    """Check the sizes that the file's metadata states: a decompression bomb is an error."""
    num_bytes = metadata.num_rows
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema in mapped:
                num_bytes += column.total_uncompressed_size
    check_ratio(path, num_bytes, path.stat().st_size)


def read_dataset(settings: CorpusSettings, folder: Path | None, tally: Tally) -> Iterator[Row]:
    """Yield the rows of a `save_to_disk` folder (memory-mapped) or of a Hub dataset (streamed).

    Raises:
        CorpusError: there is no such data set, split or column, or the Hub cannot be reached.
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
            _check_disk(str(path), error)
            raise CorpusError(
                f"{path}: cannot be read as Arrow ({error}); save the dataset again"
            ) from None


def _check_uncompressed(path: Path, file: Any) -> None:
    """Check that no batch is compressed. `save_to_disk` writes none, and one may be a bomb."""
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(file):
        if _is_compressed(message.metadata.to_pybytes()):
            raise CorpusError(f"{path}: is compressed inside; save it again with save_to_disk")


def _is_compressed(message: bytes) -> bool:
    """Return whether a message of Arrow's format holds a batch with compressed buffers.

    pyarrow does not tell this, so it is read from the Flatbuffer (format/Message.fbs). In a
    Message, field 1 is the kind of the header and field 2 the header. A RecordBatch is kind 3 and
    has its compression in field 3. A DictionaryBatch is kind 2 and has a RecordBatch in field 1.
    """

    def number(at: int, size: int) -> int:
        return int.from_bytes(message[at : at + size], "little")

    def field(table: int, index: int) -> int:
        """Return the position of a field of a table; 0 if the table lacks it."""
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
        if opened.column_names is not None:  # some streams know them only after they begin
            _check_columns(source, columns, opened.column_names)
        yield from opened.select_columns(_mapped(columns)).with_format("arrow").iter(_BATCH)
    except CorpusError:
        raise
    except Exception as error:  # errors of the network, the Hub and formats have no common type
        _check_disk(source, error)
        raise CorpusError(
            f"{source}: cannot be read as a dataset, split {split!r} "
            f"({type(error).__name__}: {error}); give corpus.source a file, a folder written by "
            "save_to_disk, or the name of a Hub dataset that can be reached from here"
        ) from error


def _check_disk(source: str, error: Exception) -> None:
    """Check that an error is one of the content: another copy would not mend one of the disk."""
    if of_disk := disk_error(error):
        raise CorpusError(
            f"{source}: cannot be read: {of_disk.strerror}: check the disk, and whether you may "
            "read there"
        ) from error


def _rows(
    source: str,
    batches: Iterable[pa.Table | pa.RecordBatch],
    columns: Columns,
    tally: Tally,
    num_compressed: int | None = None,
) -> Iterator[Row]:
    """Yield the rows of batches; `num_compressed` bytes were read for them, None: not known."""
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
