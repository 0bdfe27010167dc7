"""The corpora of an audit: read once, cleaned, laid on the disk, drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmad.corpus import Row, Tally, clean, length_fault, read_rows
from textmad.documents import as_table, content_id, on_disk, take
from textmad.errors import CorpusError, RecipeError
from textmad.hashes import HashSet, hashes_of
from textmad.recipe import Columns, CorpusSettings

if TYPE_CHECKING:
    from datasets import Dataset

_SCHEMA = pa.schema([("text", pa.string()), ("group", pa.string())])
_AT_ONCE = 4096
_REDDIT_GROUP = "subreddit"
Format: TypeAlias = Literal["auto", "jsonl", "csv", "parquet", "text", "dataset", "reddit"]
# A reader speaks of the recipe's settings; these options fill them here.
_OPTIONS = {
    "corpus.columns.text": "--text-column",
    "corpus.columns.community": "--group",
    "corpus.columns": "--text-column and --group",
    "corpus.format": "--format",
    "corpus.source": "the path",
}


class Source(NamedTuple):
    """One corpus, cleaned; empty texts are left out and counted."""

    name: str
    documents: Dataset  # text and group, memory-mapped
    bad: int  # lines that could not be read
    deleted: int  # posts of a Reddit dump
    empty: int
    too_long: int
    repeated: int  # documents, of all, that are equal to an earlier one

    def texts(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The texts of these rows, in that order."""
        chosen: list[str] = take(self.documents.select_columns(["text"]), rows)["text"][:]
        return chosen


def read_source(
    source: str,
    text_column: str = "text",
    group: str | None = None,
    form: Format = "auto",
    max_words: int = 1000,
) -> Source:
    """Read a corpus as recipes do, but for documents of any length up to `max_words`.

    Raises:
        CorpusError: it is missing, unreadable, too bad, without such a column, or holds no text.
        RecipeError: an option has no effect on such a source.
    """
    if form == "reddit" and group == _REDDIT_GROUP:  # a dump's reader has it anyway
        group = None
    columns = Columns(text=text_column, community=group)
    settings = CorpusSettings(
        source=source, format=form, columns=columns, min_words=1, max_words=max_words
    )
    tally, dropped, seen = Tally(), Counter(too_short=0, too_long=0), HashSet()
    try:
        documents = on_disk(_tables(read_rows(settings, tally), settings, dropped, seen), _SCHEMA)
        tally.check(source, settings.max_bad_lines)
    except (CorpusError, RecipeError) as error:
        raise type(error)(_as_options(str(error))) from None
    if not len(documents):
        raise CorpusError(
            f"{source}: no document is left: {dropped['too_short']:,} are empty after cleaning, "
            f"{dropped['too_long']:,} longer than {max_words:,} words"
        )
    return Source(
        source,
        documents,
        bad=tally.num_bad,
        deleted=tally.unwanted.total(),
        empty=dropped["too_short"],
        too_long=dropped["too_long"],
        repeated=len(documents) - len(seen),
    )


def rows_by_group(
    sources: Iterable[Source],
) -> dict[str, list[tuple[Source, npt.NDArray[np.int64]]]]:
    """Each group's rows in the sources that have it, by name; those without a group are in none."""
    found: dict[str, list[tuple[Source, npt.NDArray[np.int64]]]] = {}
    for source in sources:
        column = as_table(source.documents)["group"].combine_chunks().dictionary_encode()
        codes = column.indices.fill_null(-1).to_numpy()
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(column.dictionary) + 1))
        for code, name in enumerate(column.dictionary.to_pylist()):
            found.setdefault(name, []).append((source, order[ends[code] : ends[code + 1]]))
    return dict(sorted(found.items()))


def _tables(
    rows: Iterator[Row], settings: CorpusSettings, dropped: Counter[str], seen: HashSet
) -> Iterator[pa.Table]:
    while batch := list(islice(rows, _AT_ONCE)):
        pairs = []
        for row in batch:
            text = clean(row.text)
            if fault := length_fault(text, settings):
                dropped[fault] += 1
            else:
                pairs.append((text, row.community))
        seen.add(hashes_of(content_id(text) for text, _ in pairs))
        columns = list(zip(*pairs, strict=True)) or [(), ()]
        yield pa.table([pa.array(values, pa.string()) for values in columns], names=_SCHEMA.names)


def _as_options(message: str) -> str:
    for setting, option in _OPTIONS.items():
        message = message.replace(setting, option)
    return message
