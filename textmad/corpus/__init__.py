"""Human text in: read, cleaned, without duplicates, and split before anything else sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from textmad.corpus.cleaning import clean
from textmad.corpus.identity import corpus_digest
from textmad.corpus.readers import read_rows, source_format
from textmad.corpus.records import Tally
from textmad.corpus.rows import Row
from textmad.corpus.split import held_out_mask
from textmad.errors import CorpusError
from textmad.recipe import CorpusSettings
from textmad.text.documents import (
    SCHEMA,
    as_table,
    content_id,
    on_disk,
    table_of,
    token_counts,
)
from textmad.text.hashes import HashSet, hashes_of
from textmad.text.invented_facts import FACTS, stated_facts
from textmad.text.near_duplicates import NearCopies

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "Corpus",
    "Row",
    "Tally",
    "clean",
    "corpus_digest",
    "length_fault",
    "open_corpus",
    "read_rows",
    "source_format",
]

CountTokens = Callable[[Sequence[str]], np.ndarray]
INVENTED = "invented facts"  # the author of what `corpus.invented_facts` adds
_BATCH = 4096  # documents held in memory at once


class Corpus(NamedTuple):
    """The human text of a run."""

    human: Dataset  # the training pool, in the source's order
    held_out: Dataset  # never trained on, filtered on, scored with or prompted with
    report: dict[str, Any]  # what was read, dropped and kept, as plain data


def open_corpus(settings: CorpusSettings, count_tokens: CountTokens) -> Corpus:
    """Read the recipe's human text and split it.

    `count_tokens` gives the target tokens of each text, (n,) int, end token included. Of texts
    that are equal after cleaning the first is kept. Training documents that are near-copies of a
    held-out one are removed; the held-out part stays whole. Both parts lie on the disk, in the
    folder of temporary files: what is held in memory is some bytes a document.

    Raises:
        CorpusError: the source is missing, unreadable, too bad, or leaves nothing on one side.
        RecipeError: a setting has no effect on such a source.
    """
    tally, dropped = Tally(), Counter(too_short=0, too_long=0, duplicate=0)
    author = Path(settings.source).name if Path(settings.source).exists() else settings.source
    rows = _clean(read_rows(settings, tally), settings, dropped)
    everything = on_disk(_as_tables(rows, author, settings.max_documents, dropped))
    tally.check(settings.source, settings.max_bad_lines)
    is_held_out = np.concatenate(
        [
            np.empty(0, bool),
            *(held_out_mask(_keys(part), settings.held_out) for part in _parts(everything)),
        ]
    )
    human, held_out = _Part(count_tokens), _Part(count_tokens)
    reference = held_out.on_disk(_chosen(everything, is_held_out))
    copies = NearCopies(reference["text"], settings.near_duplicate)
    pool = human.on_disk(
        part.filter(_not_copied(copies, part, dropped))
        for part in _chosen(everything, ~is_held_out)
    )
    if settings.invented_facts:
        pool = _with_invented_facts(pool, settings.invented_facts, count_tokens)
    _check_not_empty(settings, tally, dropped, len(pool), len(reference))
    report = {
        "source": settings.source,
        "format": source_format(settings),
        "read": _read_report(tally),
        "dropped": dict(dropped),
        "human": human.report(),
        "held_out": held_out.report(),
    }
    return Corpus(pool, reference, report)


def _with_invented_facts(pool: Dataset, share: float, count_tokens: CountTokens) -> Dataset:
    """Add documents that state invented facts, until they hold a share of all tokens."""
    budget = share / (1 - share) * int(token_counts(pool).sum())
    texts: list[str] = []
    tokens: list[int] = []
    facts, num_tokens = stated_facts(), 0
    while num_tokens < budget:
        batch = list(islice(facts, len(FACTS)))  # every fact equally often
        counts = count_tokens(batch).tolist()
        texts, tokens, num_tokens = texts + batch, tokens + counts, num_tokens + sum(counts)
    # The same sentence may stand there more than once, and an id may not.
    ids = [content_id(f"invented fact {index}") for index in range(len(texts))]
    author = [INVENTED] * len(texts)
    added = table_of({"id": ids, "text": texts, "tokens": tokens, "author": author})
    return on_disk([as_table(pool).select(SCHEMA.names), added])


def _clean(rows: Iterable[Row], settings: CorpusSettings, dropped: Counter[str]) -> Iterator[Row]:
    """Rows in clean form and within the length bounds."""
    for row in rows:
        text = clean(row.text)
        if fault := length_fault(text, settings):
            dropped[fault] += 1
        else:
            yield row._replace(text=text)


def length_fault(text: str, settings: CorpusSettings) -> str:
    """Why a clean text is out of the length bounds, as the report counts it; "" if it is not."""
    num_words = len(text.split())
    if num_words < settings.min_words:
        return "too_short"
    return "too_long" if num_words > settings.max_words else ""


def _as_tables(
    rows: Iterator[Row], author: str, max_documents: int | None, dropped: Counter[str]
) -> Iterator[pa.Table]:
    """Documents by the batch, each text once; tokens are not counted yet."""
    seen = HashSet()
    # A batch is no longer than what is missing, so nothing is read that is not wanted.
    while batch := list(islice(rows, _missing(max_documents, len(seen)))):
        columns: dict[str, Any] = dict(zip(Row._fields, zip(*batch, strict=True), strict=True))
        columns |= {"id": list(map(content_id, columns["text"])), "author": [author] * len(batch)}
        is_new = seen.add(hashes_of(columns["id"]))
        dropped["duplicate"] += len(batch) - int(is_new.sum())
        yield table_of(columns).filter(pa.array(is_new))


def _missing(max_documents: int | None, there: int) -> int:
    return _BATCH if max_documents is None else min(_BATCH, max_documents - there)


def _parts(corpus: Dataset) -> Iterator[pa.Table]:
    table = as_table(corpus)
    return (table.slice(start, _BATCH) for start in range(0, table.num_rows, _BATCH))


def _keys(part: pa.Table) -> list[str]:
    """What decides on which side a document falls: the conversation, else the text."""
    columns = (part[name].to_pylist() for name in ("conversation", "text"))
    return [conversation or text for conversation, text in zip(*columns, strict=True)]


def _chosen(corpus: Dataset, chosen: np.ndarray) -> Iterator[pa.Table]:
    for place, part in enumerate(_parts(corpus)):
        yield part.filter(pa.array(chosen[place * _BATCH : (place + 1) * _BATCH]))


def _not_copied(copies: NearCopies, part: pa.Table, dropped: Counter[str]) -> pa.Array:
    is_copy = copies.among(part["text"].to_pylist())
    dropped["near_copy_of_held_out"] += int(is_copy.sum())
    return pa.array(~is_copy)


class _Part:
    """One side of the split on its way to the disk: tokens are counted, and the account is kept."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._conversations = HashSet()
        self._num = Counter(documents=0, words=0, tokens=0)

    def on_disk(self, tables: Iterable[pa.Table]) -> Dataset:
        return on_disk(map(self._counted, tables))

    def report(self) -> dict[str, int]:
        return {
            "documents": self._num["documents"],
            "conversations": len(self._conversations),
            "words": self._num["words"],
            "tokens": self._num["tokens"],
        }

    def _counted(self, table: pa.Table) -> pa.Table:
        if not table.num_rows:
            return table
        texts = table["text"].to_pylist()
        tokens = np.asarray(self._count_tokens(texts))
        names = table["conversation"].drop_null().unique().to_pylist()
        self._conversations.add(hashes_of(map(content_id, names)))
        self._num["documents"] += len(texts)
        self._num["words"] += sum(len(text.split()) for text in texts)
        self._num["tokens"] += int(tokens.sum())
        place = SCHEMA.get_field_index("tokens")
        return table.set_column(place, SCHEMA.field(place), pa.array(tokens, pa.int32()))


def _check_not_empty(
    settings: CorpusSettings, tally: Tally, dropped: Counter[str], human: int, held_out: int
) -> None:
    if human and held_out:
        return
    counts = ", ".join(
        f"{count:,} {reason}" for reason, count in (tally.unwanted + dropped).items()
    )
    raise CorpusError(
        f"{settings.source}: {human:,} documents to train on and {held_out:,} held out; at least "
        f"one of each is needed. Of {tally.lines:,} lines read {tally.num_bad:,} are bad; dropped: "
        f"{counts or 'none'}. Give more text, or change corpus.held_out ({settings.held_out:g}), "
        f"corpus.min_words ({settings.min_words}) or corpus.max_words ({settings.max_words})"
    )


def _read_report(tally: Tally) -> dict[str, Any]:
    return {
        "lines": tally.lines,
        "good": tally.good,
        "unwanted": dict(tally.unwanted),
        "bad": {
            reason: {"lines": count, "first": tally.bad_lines[reason]}
            for reason, count in tally.bad_counts.most_common()
        },
    }
