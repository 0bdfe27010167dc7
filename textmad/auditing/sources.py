"""The corpora of an audit: read once, cleaned, kept on disk, sampled from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmad.corpus import Row, Tally, clean, length_fault, read_rows, source_format
from textmad.corpus.readers import source_path
from textmad.errors import CorpusError, RecipeError
from textmad.recipe import Columns, CorpusSettings
from textmad.text.documents import as_table, content_id, on_disk, take
from textmad.text.hashes import HashSet, hashes_of

if TYPE_CHECKING:
    from datasets import Dataset

_SCHEMA = pa.schema([("text", pa.string()), ("group", pa.string())])
_AT_ONCE = 4096
BUILT_IN = "chitchat"
_REDDIT_GROUP = "subreddit"
Format: TypeAlias = Literal["auto", "jsonl", "csv", "parquet", "text", "dataset", "reddit"]
_WITHOUT_COLUMNS = ("chitchat", "text", "reddit")


class ReadOptions(NamedTuple):
    """How a corpus is read, and what its reader's settings are called here."""

    settings: CorpusSettings
    names: Mapping[str, str]  # of each setting, or remedy, in a recipe's words


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
        """Return the texts of these rows, in that order."""
        chosen: list[str] = take(self.documents.select_columns(["text"]), rows)["text"][:]
        return chosen


def reading(
    source: str,
    text_column: str | None = None,
    form: Format | None = None,
    *,
    others: tuple[str, Format] = ("text", "auto"),
    group: str | None = None,
    max_words: int = 1000,
    max_bad_lines: float = 0.01,
    prefix: str = "--",
) -> ReadOptions:
    """Return how to read a corpus: as recipes do, but with texts of up to `max_words` words.

    Checks that it exists, and opens nothing.

    Args:
        source: as a recipe's `corpus.source`.
        text_column: None is that of `others`, where it can have an effect.
        form: None is that of `others`, where it can have an effect.
        others: column and format of the texts that this one is read beside.
        group: a column.
        max_words: longer documents are left out.
        max_bad_lines: a larger share of lines that cannot be read is an error.
        prefix: of the options for the column and the format.

    Raises:
        CorpusError: it is missing, or its name does not tell its format.
        RecipeError: an option has no effect on such a source.
    """
    source_path(source)  # before pydantic meets a name that is not UTF-8
    other_column, other_form = others if source != BUILT_IN else ("text", "auto")
    form = other_form if form is None else form
    if form == "reddit" and group == _REDDIT_GROUP:  # a dump's reader has it anyway
        group = None
    settings = CorpusSettings(
        source=source, format=form, min_words=1, max_words=max_words, max_bad_lines=max_bad_lines
    )
    with _in_words_of(_names(prefix, text_column, group)):
        if text_column is None:
            has_columns = source_format(settings) not in _WITHOUT_COLUMNS
            text_column = other_column if has_columns else "text"
        columns = Columns(text=text_column, community=group)
        settings = settings.model_copy(update={"columns": columns})
        source_format(settings)
    return ReadOptions(settings, _names(prefix, text_column, group))


def read_source(reading: ReadOptions) -> Source:
    """Read a corpus and return it; a JSON line without the group's key has no group.

    Raises:
        CorpusError: it is unreadable, too bad, without such a column, or holds no text.
    """
    settings, source = reading.settings, reading.settings.source
    tally, dropped, seen = Tally(), Counter(too_short=0, too_long=0), HashSet()
    with _in_words_of(reading.names):
        rows = read_rows(settings, tally, may_lack_community=True)
        documents = on_disk(_tables(rows, settings, dropped, seen), _SCHEMA)
        tally.check(source, settings.max_bad_lines)
    if not len(documents):
        raise CorpusError(
            f"{source}: no document is left: {dropped['too_short']:,} are empty after cleaning, "
            f"{dropped['too_long']:,} longer than {settings.max_words:,} words"
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
    """Return each group's rows in the sources, by its name; documents without one are left out."""
    rows: dict[str, list[tuple[Source, npt.NDArray[np.int64]]]] = {}
    for source in sources:
        column = as_table(source.documents)["group"].combine_chunks().dictionary_encode()
        codes = column.indices.fill_null(-1).to_numpy()
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(column.dictionary) + 1))
        for code, name in enumerate(column.dictionary.to_pylist()):
            rows.setdefault(name, []).append((source, order[ends[code] : ends[code + 1]]))
    return dict(sorted(rows.items()))


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


def _names(prefix: str, text_column: str | None, group: str | None) -> dict[str, str]:
    """An audit's words for a reader's, which speaks of a recipe's settings; longest first."""
    column, groups = f"{prefix}text-column", ["--group"] if group is not None else []
    given = [column, *groups] if text_column not in (None, "text") else groups
    return {
        "corpus.columns: has": f"{' and '.join(given)}: has",
        "corpus.columns.text": column,
        "corpus.columns.community": "--group",
        "corpus.columns": " and ".join([column, *groups]),
        "corpus.format": f"{prefix}format",
        "corpus.max_bad_lines": "--max-bad-lines",
        "set corpus.split to one of": "give the subfolder of one of them:",
        "give corpus.source ": "give ",
        "corpus.source": "the path",
    }


@contextmanager
def _in_words_of(names: Mapping[str, str]) -> Iterator[None]:
    try:
        yield
    except (CorpusError, RecipeError) as error:
        message = str(error)
        for setting, option in names.items():
            message = message.replace(setting, option)
        raise type(error)(message) from None
