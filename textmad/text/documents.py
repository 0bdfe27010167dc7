"""The document, textmad's one kind of row, and its way to and from Parquet.

A corpus is a Hugging Face `datasets.Dataset` with the columns of `FEATURES`; candidates carry
more columns behind them (score, kept, filter, reason, votes in detail).
"""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textmad.errors import temporary_files

if TYPE_CHECKING:
    from datasets import Dataset

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # human: content hash; model: g<generation>-<index>
        ("text", pa.string()),  # for a prompted document the continuation alone
        ("prompt", pa.string()),  # human words the model was given, "" where there were none
        ("origin", pa.string()),  # "human" or "model"
        ("generation", pa.int32()),  # of the model that wrote it; -1 for human text
        ("author", pa.string()),  # the human source, or the model that wrote it
        ("finished", pa.bool_()),  # False: cut at max_new_tokens, so no end token is learned
        ("tokens", pa.int32()),  # target tokens under the run's tokenizer, end token included
        ("conversation", pa.string()),  # null where unknown, as the three below
        ("community", pa.string()),
        ("time", pa.float64()),  # seconds since 1970
        ("votes", pa.float64()),
    ]
)
HUMAN, MODEL = "human", "model"
# Of candidates: the ids that were sampled, where the text encodes to others; else null.
SAMPLED_IDS = "sampled_ids"
SCORE_OF = "score of "  # before a filter's name: its own scores, where every filter's are wanted
ROWS_AT_ONCE = 2**16  # what is larger is streamed in pieces of so many documents
_DEFAULTS: dict[str, Any] = {"prompt": "", "generation": -1, "finished": True, "tokens": 0}


def content_id(text: str) -> str:
    """The content hash of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def documents(columns: Mapping[str, Sequence[Any]]) -> Dataset:
    """Make a corpus of columns; those of the schema that are missing get their default or null.

    `id` defaults to the content hash, `origin` to human and `author` to "unknown".

    >>> documents({"text": ["hello there"]})[0]["origin"]
    'human'
    """
    return as_dataset(table_of(columns))


def table_of(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """The same as an Arrow table."""
    given = dict(columns)
    texts = list(given["text"])
    given.setdefault("id", [content_id(text) for text in texts])
    given.setdefault("origin", [HUMAN] * len(texts))
    given.setdefault("author", ["unknown"] * len(texts))
    arrays = {}
    for field in SCHEMA:
        values = given.pop(field.name, None)
        if values is None:
            values = [_DEFAULTS.get(field.name)] * len(texts)
        arrays[field.name] = pa.array(values, field.type)
    arrays |= {name: pa.array(values) for name, values in given.items()}
    return pa.table(arrays)


def as_dataset(table: pa.Table) -> Dataset:
    """A corpus over an Arrow table, without a copy."""
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint
    from datasets.table import InMemoryTable

    # Without a fingerprint `datasets` would pickle and hash the whole table for one, which only
    # its caches need; a random one never meets what another table left there.
    return Dataset(InMemoryTable(table), fingerprint=generate_random_fingerprint())


def as_table(corpus: Dataset) -> pa.Table:
    """Return the Arrow table of a corpus, any selection applied, without metadata.

    In one piece, unless it is so large that it may lie on the disk.
    """
    table = corpus.data.table.replace_schema_metadata(None)
    if corpus._indices is not None:  # `datasets` itself would gather scattered rows one by one
        table = _gathered(table, corpus._indices.column(0).to_numpy().astype(np.int64))
    return table.combine_chunks() if table.num_rows <= ROWS_AT_ONCE else table


def take(corpus: Dataset, rows: npt.NDArray[np.int64]) -> Dataset:
    """The chosen documents, in that order; of a corpus on disk only they are read."""
    return as_dataset(_gathered(as_table(corpus), rows))


def token_counts(corpus: Dataset) -> npt.NDArray[np.int64]:
    """Target tokens of each document, `(documents,)`."""
    column = as_table(corpus.select_columns(["tokens"]))["tokens"]
    return np.asarray(column.to_numpy(), dtype=np.int64)


def of_community(corpus: Dataset, community: str | None) -> Dataset:
    """The documents of a community, in order; None: all documents."""
    if community is None:
        return corpus
    return as_dataset(as_table(corpus).filter(pc.field("community") == community))


def ids_of(corpus: Dataset) -> Iterator[str]:
    """The documents' ids, in order."""
    return _strings(corpus, "id")


def digest_of_ids(corpus: Dataset) -> str:
    """SHA-256 of the documents' ids: which documents these are, and in which order."""
    digest = hashlib.sha256()
    for name in ids_of(corpus):
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def texts_of(corpus: Dataset) -> Iterator[str]:
    """The documents' texts, in order; of a corpus on disk a piece at a time is read."""
    return _strings(corpus, "text")


def _strings(corpus: Dataset, column: str) -> Iterator[str]:
    for piece in as_table(corpus.select_columns([column]))[column].chunks:
        yield from piece.to_pylist()


def _gathered(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """`table.take`, which for a table of several pieces would first join them all in memory."""
    pieces = table.to_batches()
    if len(pieces) <= 1:
        return table.take(rows)
    order = np.argsort(rows, kind="stable")
    ends = np.cumsum([piece.num_rows for piece in pieces])
    cuts = np.searchsorted(rows[order], ends)
    taken = [
        piece.take(pa.array(rows[order[low:high]] - (end - piece.num_rows)))
        for piece, low, high, end in zip(pieces, [0, *cuts[:-1]], cuts, ends, strict=True)
        if high > low
    ]
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows))
    return pa.Table.from_batches(taken, table.schema).combine_chunks().take(place)


def empty() -> Dataset:
    """A corpus without documents."""
    return as_dataset(SCHEMA.empty_table())


def concatenate(corpora: Sequence[Dataset]) -> Dataset:
    """One corpus of all, in the columns of the schema only."""
    tables = [as_table(corpus).select(SCHEMA.names).cast(SCHEMA) for corpus in corpora]
    return as_dataset(pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks())


# --- on disk --------------------------------------------------------------------------------


def on_disk(tables: Iterable[pa.Table], schema: pa.Schema = SCHEMA) -> Dataset:
    """Put the tables' documents into one corpus that is memory-mapped from a temporary file.

    The file has no name that a kill could leave behind, and is gone with the corpus.

    Raises:
        RunError: the folder for temporary files is full, or cannot be written.
    """
    with temporary_files():
        file = tempfile.TemporaryFile(prefix="textmad-")  # noqa: SIM115
        writer = pa.ipc.new_file(file, schema)
    try:
        for table in tables:  # whose own errors are not those of the temporary file
            with temporary_files():
                writer.write_table(table, ROWS_AT_ONCE)
        with temporary_files():
            writer.close()
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    finally:
        with suppress(OSError):  # after an error there may be more to write, and no room for it
            file.close()
    return as_dataset(pa.ipc.open_file(pa.py_buffer(mapped)).read_all())


def write_parquet(corpus: Dataset, path: Path) -> None:
    """Write a corpus; the same documents give the same bytes."""
    table = as_table(corpus)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for start in range(0, max(table.num_rows, 1), ROWS_AT_ONCE):
            writer.write_table(table.slice(start, ROWS_AT_ONCE).combine_chunks())


def read_parquet(path: Path) -> Dataset:
    """Read a corpus that `write_parquet` wrote; a large one is laid on disk to be mapped."""
    with pq.ParquetFile(path, memory_map=True) as file:
        if file.metadata.num_row_groups <= 1:
            return as_dataset(file.read())
        groups = (file.read_row_group(index) for index in range(file.metadata.num_row_groups))
        return on_disk(groups, file.schema_arrow)
