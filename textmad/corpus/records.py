"""From a source's record to a Row, and the account of every line that did not become one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from textmad.corpus.rows import Row
from textmad.errors import CorpusError

if TYPE_CHECKING:
    from textmad.recipe import Columns

MAX_LINE = 2**20  # bytes of a line; no post is longer, and a longer line is never held in memory
BAD_UTF8 = "not UTF-8"
TOO_LONG = "over 1 MiB"
_LINES_NAMED = 5

ToRow = Callable[[Mapping[str, Any]], Row]


class BadLineError(Exception):
    """This line or record cannot be read; the message is the reason it is counted under."""


class UnwantedError(Exception):
    """This record is well formed and holds no text to learn from; the message says why."""


@dataclass
class Tally:
    """How the lines of one source fared; blank lines are not counted.

    >>> tally = Tally(good=99)
    >>> tally.bad("not JSON", line=3)
    >>> tally.lines, tally.num_bad
    (100, 1)
    """

    good: int = 0
    unwanted: Counter[str] = field(default_factory=Counter)
    bad_counts: Counter[str] = field(default_factory=Counter)
    bad_lines: dict[str, list[int]] = field(default_factory=dict)  # the first few of each reason

    @property
    def num_bad(self) -> int:
        """Bad lines of all reasons."""
        return self.bad_counts.total()

    @property
    def lines(self) -> int:
        """All lines read."""
        return self.good + self.unwanted.total() + self.num_bad

    def bad(self, reason: str, line: int, num_lines: int = 1) -> None:
        """Count a bad record that begins at `line` (from 1) and spans `num_lines`."""
        self.bad_counts[reason] += num_lines
        named = self.bad_lines.setdefault(reason, [])
        if len(named) < _LINES_NAMED:
            named.append(line)

    def take(self, to_row: ToRow, record: Mapping[str, Any], line: int) -> Row | None:
        """The record's Row, counted as good, or None, counted under its reason."""
        try:
            row = to_row(record)
        except BadLineError as fault:
            self.bad(str(fault), line)
        except UnwantedError as fault:
            self.unwanted[str(fault)] += 1
        else:
            self.good += 1
            return row
        return None

    def check(self, source: str, max_bad_share: float) -> None:
        """Refuse a source with too many bad lines, or with nothing else.

        Raises:
            CorpusError: with every reason, its count and its first line numbers.
        """
        if not self.lines:
            raise CorpusError(f"{source}: holds no text; expected one document a line or row")
        if self.num_bad == self.lines:
            raise CorpusError(
                f"{source}: none of its {self.lines:,} lines is good:{self._reasons()}\n"
                "Check that corpus.format and corpus.columns fit the file."
            )
        if self.num_bad > max_bad_share * self.lines:
            raise CorpusError(
                f"{source}: {self.num_bad:,} of {self.lines:,} lines are bad "
                f"({self.num_bad / self.lines:.2%}), more than corpus.max_bad_lines: "
                f"{max_bad_share:g} allows:{self._reasons()}\n"
                "Repair the file, check corpus.format and corpus.columns, or raise "
                "corpus.max_bad_lines if these lines can be spared."
            )

    def _reasons(self) -> str:
        lines = []
        for reason, count in self.bad_counts.most_common():
            named = self.bad_lines[reason]
            numbers = ", ".join(map(str, named)) + (", ..." if count > len(named) else "")
            lines.append(f"\n  {count:,} {reason} (line {numbers})")
        return "".join(lines)


def row_maker(columns: Columns, *, may_lack_community: bool = False) -> ToRow:
    """A function that picks the mapped columns out of a record.

    A mapped column has to exist in every record, though with `may_lack_community` not that one;
    null, or an empty cell, is "not known". Votes and time may be numbers or text that reads as
    one; time also a datetime.

    >>> from textmad.recipe import Columns
    >>> row_maker(Columns(text="body", votes="score"))({"body": "hello", "score": 3}).votes
    3.0
    """
    text, votes, community = columns.text, columns.votes, columns.community
    time, conversation = columns.time, columns.conversation
    if not (votes or community or time or conversation):
        return lambda record: Row(text_of(record, text))

    community_of = _label_if_there if may_lack_community else label_of

    def to_row(record: Mapping[str, Any]) -> Row:
        return Row(
            text_of(record, text),
            number_of(record, votes) if votes else None,
            community_of(record, community) if community else None,
            number_of(record, time) if time else None,
            label_of(record, conversation) if conversation else None,
        )

    return to_row


def text_of(record: Mapping[str, Any], key: str) -> str:
    """The text under `key`.

    Raises:
        BadLineError: there is none, it is not text, or it is over 1 MiB.
    """
    value = record.get(key)
    if type(value) is not str:
        raise BadLineError(f"{key!r} is not text" if key in record else f"no field {key!r}")
    if len(value) > MAX_LINE:
        raise BadLineError(TOO_LONG)
    return value


def number_of(record: Mapping[str, Any], key: str) -> float | None:
    """The finite number under `key`; a datetime counts as seconds since 1970, UTC by default.

    Raises:
        BadLineError: the field is missing or is anything else.
    """
    value = _value(record, key)
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadLineError(f"{key!r} is not a number")
    return number


def label_of(record: Mapping[str, Any], key: str) -> str | None:
    """The name or number under `key`, as text.

    Raises:
        BadLineError: the field is missing or is anything else.
    """
    value = _value(record, key)
    if value is None or value == "":  # an empty id would tie all such documents together
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not _is_unicode(str(value)):
        raise BadLineError(f"{key!r} is neither text nor a whole number")
    return str(value)


def _label_if_there(record: Mapping[str, Any], key: str) -> str | None:
    return label_of(record, key) if key in record else None


def _value(record: Mapping[str, Any], key: str) -> Any:
    try:
        return record[key]
    except KeyError:
        raise BadLineError(f"no field {key!r}") from None


def _is_unicode(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it (JSON can smuggle one in)."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
