"""Read human text, clean it, remove duplicates, and split it before anything else sees it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from textmad.corpus.cleaning import clean
from textmad.corpus.entities import holds_reference
from textmad.corpus.identity import corpus_digest
from textmad.corpus.readers import read_rows, source_format, source_path
from textmad.corpus.records import Row, Tally
from textmad.corpus.split import held_out_mask, part_mask
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
from textmad.text.words import length_in_words

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "Corpus",
    "Row",
    "Tally",
    "clean",
    "corpus_digest",
    "corpus_notes",
    "length_fault",
    "open_corpus",
    "read_rows",
    "source_format",
]

CountTokens = Callable[[Sequence[str]], np.ndarray]
ReadBack = Callable[[Sequence[str]], Sequence[str]]
INVENTED = "invented facts"  # the author of what `corpus.invented_facts` adds
_BATCH = 4096  # documents held in memory at once
_LARGE_SHARE = 0.2  # of the tokens, held by a hundredth of the documents


class Corpus(NamedTuple):
    """The human text of a run."""

    human: Dataset  # the training pool, in the source's order
    held_out: Dataset  # never trained on, filtered on, scored with or prompted with
    report: dict[str, Any]  # what was read, dropped and kept, as plain data


def open_corpus(
    settings: CorpusSettings,
    count_tokens: CountTokens,
    part: int = 0,
    *,
    read_back: ReadBack | None = None,
) -> Corpus:
    """Read the recipe's human text and return pool and held-out text, and the report.

    `count_tokens` gives the target tokens of each text, (n,) int, end token included. `read_back`
    gives each text as it reads after encoding and decoding. A sampled text can hold nothing that
    the tokenizer does not know, so human text is kept as it reads then; else the two would differ
    by the tokenizer alone. Of texts that are equal after that the first is kept. Training documents
    that are near-copies of a held-out one are removed; the held-out text stays whole. Both are on
    disk, in the folder of temporary files: memory holds some bytes a document. Of `corpus.parts`
    parts number `part` alone is read.

    Raises:
        CorpusError: the source is missing, unreadable, too bad, or leaves nothing on one side.
        RecipeError: a setting has no effect on such a source.
    """
    tally, dropped = Tally(), Counter(too_short=0, too_long=0, duplicate=0)
    path = source_path(settings.source)
    is_builtin_or_hub = source_format(settings) == "chitchat" or not path.exists()
    author = settings.source if is_builtin_or_hub else path.name
    rows = _clean(read_rows(settings, tally), settings, dropped)
    returned = Counter(all=0, changed=0)
    if read_back is not None:
        rows = _returned(rows, read_back, dropped, returned)
    everything = on_disk(_as_tables(rows, author, settings.max_documents, dropped))
    tally.check(settings.source, settings.max_bad_lines)
    is_held_out, is_ours = (
        np.concatenate([np.empty(0, bool), *(mask(_keys(table)) for table in _tables(everything))])
        for mask in (
            partial(held_out_mask, share=settings.held_out),
            partial(part_mask, num_parts=settings.parts, part=part),
        )
    )
    if settings.parts > 1:
        dropped["other_part"] = int((~is_ours).sum())
    bounded = partial(_Side, count_tokens, settings.largest_in_tokens, dropped)
    human, held_out = bounded(), bounded()
    reference = held_out.on_disk(_filtered(everything, is_held_out & is_ours))
    copies = NearCopies(reference["text"], settings.near_duplicate)
    pool = human.on_disk(
        table.filter(_not_copied(copies, table, dropped))
        for table in _filtered(everything, ~is_held_out & is_ours)
    )
    if settings.invented_facts:
        pool = _with_invented_facts(pool, settings.invented_facts, count_tokens)
    _check_not_empty(settings, tally, dropped, len(pool), len(reference))
    report = {
        "source": settings.source,
        "format": source_format(settings),
        "read": _read_report(tally),
        "dropped": dict(dropped),
        "with_html_entities": human.num_with_entities + held_out.num_with_entities,
        # Of the documents that are within the bounds, the share that read otherwise before.
        "changed_by_tokenizer_share": returned["changed"] / max(returned["all"], 1),
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
    """Yield the rows in clean form that are within the length bounds."""
    for row in rows:
        text = clean(row.text)
        if fault := length_fault(text, settings):
            dropped[fault] += 1
        else:
            yield row._replace(text=text)


def _returned(
    rows: Iterator[Row], read_back: ReadBack, dropped: Counter[str], returned: Counter[str]
) -> Iterator[Row]:
    """Yield the rows as they read after encoding and decoding, and count how many differ."""
    while batch := list(islice(rows, _BATCH)):
        for row, text in zip(batch, read_back([row.text for row in batch]), strict=True):
            returned["all"] += 1
            returned["changed"] += text != row.text
            if text.strip():
                yield row._replace(text=text)
            else:
                dropped["too_short"] += 1


def length_fault(text: str, settings: CorpusSettings) -> str:
    """Return why a clean text is out of the bounds in words, as the report counts it, or ""."""
    num_words = length_in_words(text)
    if num_words < settings.min_words:
        return "too_short"
    return "too_long" if num_words > settings.max_words else ""


def _as_tables(
    rows: Iterator[Row], author: str, max_documents: int | None, dropped: Counter[str]
) -> Iterator[pa.Table]:
    """Yield documents in batches, each text once; tokens are not counted yet."""
    seen = HashSet()
    # A batch is no longer than what is still wanted, so that no more is read.
    while batch := list(islice(rows, _batch_size(max_documents, len(seen)))):
        columns: dict[str, Any] = dict(zip(Row._fields, zip(*batch, strict=True), strict=True))
        columns |= {"id": list(map(content_id, columns["text"])), "author": [author] * len(batch)}
        is_new = seen.add(hashes_of(columns["id"]))
        dropped["duplicate"] += len(batch) - int(is_new.sum())
        yield table_of(columns).filter(pa.array(is_new))


def _batch_size(max_documents: int | None, num_documents: int) -> int:
    return _BATCH if max_documents is None else min(_BATCH, max_documents - num_documents)


def _tables(corpus: Dataset) -> Iterator[pa.Table]:
    table = as_table(corpus)
    return (table.slice(start, _BATCH) for start in range(0, table.num_rows, _BATCH))


def _keys(table: pa.Table) -> list[str]:
    """Return what decides the side of each document: its conversation, else its text."""
    columns = (table[name].to_pylist() for name in ("conversation", "text"))
    return [conversation or text for conversation, text in zip(*columns, strict=True)]


def _filtered(corpus: Dataset, mask: np.ndarray) -> Iterator[pa.Table]:
    for index, table in enumerate(_tables(corpus)):
        yield table.filter(pa.array(mask[index * _BATCH : (index + 1) * _BATCH]))


def _not_copied(copies: NearCopies, table: pa.Table, dropped: Counter[str]) -> pa.Array:
    is_copy = copies.among(table["text"].to_pylist())
    dropped["near_copy_of_held_out"] += int(is_copy.sum())
    return pa.array(~is_copy)


class _Side:
    """One side of the split: counts tokens, drops what is too long, and writes the rest to disk."""

    def __init__(self, count_tokens: CountTokens, max_tokens: int, dropped: Counter[str]) -> None:
        self._count_tokens, self._max_tokens, self._dropped = count_tokens, max_tokens, dropped
        self._conversations = HashSet()
        self._num_words = 0
        self._tokens = [np.empty(0, np.int32)]
        self.num_with_entities = 0

    def on_disk(self, tables: Iterable[pa.Table]) -> Dataset:
        return on_disk(map(self._counted, tables))

    def report(self) -> dict[str, Any]:
        tokens = np.sort(np.concatenate(self._tokens))
        longest = tokens[len(tokens) - math.ceil(len(tokens) / 100) :]
        total = int(tokens.sum(dtype=np.int64))
        return {
            "documents": len(tokens),
            "conversations": len(self._conversations),
            "words": self._num_words,
            "tokens": total,
            # Of the longest hundredth of the documents; 0.01 if all are equally long.
            "longest_token_share": round(float(longest.sum(dtype=np.int64)) / max(total, 1), 4),
        }

    def _counted(self, table: pa.Table) -> pa.Table:
        if not table.num_rows:
            return table
        tokens = np.asarray(self._count_tokens(table["text"].to_pylist()), np.int32)
        fits = tokens <= self._max_tokens
        self._dropped["too_long"] += int((~fits).sum())
        table, tokens = table.filter(pa.array(fits)), tokens[fits]
        texts = table["text"].to_pylist()
        names = table["conversation"].drop_null().unique().to_pylist()
        self._conversations.add(hashes_of(map(content_id, names)))
        self._num_words += sum(map(length_in_words, texts))
        self._tokens.append(tokens)
        self.num_with_entities += sum(map(holds_reference, texts))
        column = SCHEMA.get_field_index("tokens")
        return table.set_column(column, SCHEMA.field(column), pa.array(tokens, pa.int32()))


def _check_not_empty(
    settings: CorpusSettings, tally: Tally, dropped: Counter[str], human: int, held_out: int
) -> None:
    if human and held_out:
        return
    parts = f"corpus.parts ({settings.parts}), " if settings.parts > 1 else ""
    counts = ", ".join(
        f"{count:,} {reason}" for reason, count in (tally.unwanted + dropped).items()
    )
    raise CorpusError(
        f"{settings.source}: {human:,} documents to train on and {held_out:,} held out; at least "
        f"one of each is needed. Of {tally.lines:,} lines read {tally.num_bad:,} are bad; dropped: "
        f"{counts or 'none'}. Give more text, or change corpus.held_out ({settings.held_out:g}), "
        f"{parts}corpus.min_words ({settings.min_words}), corpus.max_words "
        f"({settings.max_words}) or corpus.max_tokens ({settings.largest_in_tokens})"
    )


def corpus_notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a user should know of a corpus before spending on it, a sentence each."""
    notes = []
    held_out = report.get("held_out", {})
    documents = report["human"]["documents"] + held_out.get("documents", 0)
    if share := report.get("changed_by_tokenizer_share", 0):
        notes.append(
            f"{share:.1%} of the documents do not come back from the tokens of the "
            "base: its tokenizer does not know some of their characters; they are learned and "
            "compared as they come back"
        )
    if entities := report.get("with_html_entities", 0):
        notes.append(
            f"{entities:,} of {documents:,} documents hold HTML entities such as &amp;, whose "
            "names count as words: unescape the source (format: reddit does so)"
        )
    if (share := held_out.get("longest_token_share", 0)) > _LARGE_SHARE:
        notes.append(
            f"the longest 1 % of the held-out documents hold {share:.0%} of its tokens: what is "
            "measured on it is mostly theirs; lower corpus.max_tokens"
        )
    return notes


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
