"""Human text in: read, cleaned, without duplicates, and split before anything else sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textmad.corpus.cleaning import clean
from textmad.corpus.identity import corpus_digest
from textmad.corpus.readers import read_rows, source_format
from textmad.corpus.records import Tally
from textmad.corpus.rows import Row
from textmad.corpus.split import held_out_mask
from textmad.documents import content_id, documents
from textmad.errors import CorpusError
from textmad.near_duplicates import near_duplicates_of
from textmad.recipe import CorpusSettings

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Corpus", "Row", "Tally", "corpus_digest", "open_corpus", "read_rows", "source_format"]

CountTokens = Callable[[Sequence[str]], np.ndarray]
_BATCH = 4096  # texts given to the tokenizer at once


class Corpus(NamedTuple):
    """The human text of a run."""

    human: Dataset  # the training pool, in the source's order
    held_out: Dataset  # never trained on, filtered on, scored with or prompted with
    report: dict[str, Any]  # what was read, dropped and kept, as plain data


def open_corpus(settings: CorpusSettings, count_tokens: CountTokens) -> Corpus:
    """Read the recipe's human text and split it.

    `count_tokens` gives the target tokens of each text, (n,) int, end token included. Of texts
    that are equal after cleaning the first is kept. Training documents that are near-copies of a
    held-out one are removed; the held-out part stays whole.

    Raises:
        CorpusError: the source is missing, unreadable, too bad, or leaves nothing on one side.
        RecipeError: a setting has no effect on such a source.
    """
    tally, dropped = Tally(), Counter(too_short=0, too_long=0, duplicate=0)
    cleaned = _clean(read_rows(settings, tally), settings, dropped)
    rows = list(islice(cleaned, settings.max_documents))
    tally.check(settings.source, settings.max_bad_lines)
    keys = (row.conversation or row.text for row in rows)
    is_held_out = held_out_mask(keys, settings.held_out)
    held_out = [row for row, out in zip(rows, is_held_out, strict=True) if out]
    human = [row for row, out in zip(rows, is_held_out, strict=True) if not out]
    is_copy = _near_copies(human, held_out, settings.near_duplicate)
    human = [row for row, copy in zip(human, is_copy, strict=True) if not copy]
    dropped["near_copy_of_held_out"] = int(is_copy.sum())
    _check_not_empty(settings, tally, dropped, len(human), len(held_out))

    author = Path(settings.source).name if Path(settings.source).exists() else settings.source
    pool = _documents(human, author, count_tokens)
    reference = _documents(held_out, author, count_tokens)
    report = {
        "source": settings.source,
        "format": source_format(settings),
        "read": _read_report(tally),
        "dropped": dict(dropped),
        "human": _part_report(pool),
        "held_out": _part_report(reference),
    }
    return Corpus(pool, reference, report)


def _clean(rows: Iterable[Row], settings: CorpusSettings, dropped: Counter[str]) -> Iterator[Row]:
    """Rows in clean form and within the length bounds, each text once."""
    seen: set[str] = set()
    for row in rows:
        text = clean(row.text)
        num_words = len(text.split())
        identity = content_id(text)
        if num_words < settings.min_words:
            dropped["too_short"] += 1
        elif num_words > settings.max_words:
            dropped["too_long"] += 1
        elif identity in seen:
            dropped["duplicate"] += 1
        else:
            seen.add(identity)
            yield row._replace(text=text)


def _near_copies(rows: list[Row], references: list[Row], threshold: float) -> np.ndarray:
    if not rows or not references:
        return np.zeros(len(rows), dtype=bool)
    texts, held_out = ([row.text for row in part] for part in (rows, references))
    return near_duplicates_of(texts, held_out, threshold)


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


def _documents(rows: list[Row], author: str, count_tokens: CountTokens) -> Dataset:
    texts = [row.text for row in rows]
    batches = (texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH))
    tokens = np.concatenate([count_tokens(batch) for batch in batches])
    columns: dict[str, Any] = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
    return documents({**columns, "author": [author] * len(rows), "tokens": tokens.tolist()})


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


def _part_report(corpus: Dataset) -> dict[str, int]:
    return {
        "documents": len(corpus),
        "conversations": len({name for name in corpus["conversation"] if name is not None}),
        "words": sum(len(text.split()) for text in corpus["text"]),
        "tokens": sum(corpus["tokens"]),
    }
