"""The document, textmad's one kind of row, and its way to and from Parquet.

A corpus is a Hugging Face `datasets.Dataset` with the columns of `FEATURES`; candidates carry
more columns behind them (score, kept, filter, reason, votes in detail).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

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
_DEFAULTS: dict[str, Any] = {"prompt": "", "generation": -1, "finished": True, "tokens": 0}


def content_id(text: str) -> str:
    """The content hash of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def documents(columns: Mapping[str, Sequence[Any]]) -> Dataset:
    """A corpus from columns; those of the schema that are missing get their default or null.

    `id` defaults to the content hash, `origin` to human and `author` to "unknown".

    >>> documents({"text": ["hello there"]})[0]["origin"]
    'human'
    """
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
    return as_dataset(pa.table(arrays))


def as_dataset(table: pa.Table) -> Dataset:
    """A corpus over an Arrow table, without a copy."""
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(table))


def as_table(corpus: Dataset) -> pa.Table:
    """The Arrow table of a corpus, any selection applied, without pandas or `datasets` metadata."""
    table = corpus.data.table
    if corpus._indices is not None:  # `datasets` itself would gather scattered rows one by one
        table = table.take(corpus._indices.column(0))
    return table.replace_schema_metadata(None).combine_chunks()


def empty() -> Dataset:
    """A corpus without documents."""
    return as_dataset(SCHEMA.empty_table())


def concatenate(corpora: Sequence[Dataset]) -> Dataset:
    """One corpus of all, in the columns of the schema only."""
    tables = [as_table(corpus).select(SCHEMA.names).cast(SCHEMA) for corpus in corpora]
    return as_dataset(pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks())


def write_parquet(corpus: Dataset, path: Path) -> None:
    """Write a corpus; the same documents give the same bytes."""
    pq.write_table(as_table(corpus), path, compression="zstd")


def read_parquet(path: Path) -> Dataset:
    """Read a corpus that `write_parquet` wrote."""
    return as_dataset(pq.read_table(path, memory_map=True))
