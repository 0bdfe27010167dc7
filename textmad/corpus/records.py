"""Turn a source's records into rows, and count every line that did not become one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from textmad.errors import CorpusError

if TYPE_CHECKING:
    from textmad.recipe import Columns

MAX_LINE = 2**20  # bytes of a line; no post is longer, and a longer line is never held in memory
BAD_UTF8 = "not UTF-8"
NULS = "NUL bytes: the text seems to be UTF-16, expected UTF-8"
TOO_LONG = "over 1 MiB"
_LINES_NAMED = 5
_YEAR_5138 = 1e11  # in seconds


class Row(NamedTuple):
    """What every reader yields: one text of the source, and what the source says of it.

    A field is None where the source says nothing.
    """

    text: str
    votes: float | None = None
    community: str | None = None
    time: float | None = None  # seconds since 1970
    conversation: str | None = None


ToRow = Callable[[Mapping[str, Any]], Row]


class BadLineError(Exception):
    """A line or record cannot be read; the message is the reason that it is counted under."""


class UnwantedError(Exception):
    """A record is valid and has no text to learn from; the message says why."""


@dataclass
class Tally:
    """Counts of the lines of one source, good and bad; blank lines are not counted.

    >>> tally = Tally(good=99)
    >>> tally.bad("not JSON", line=3)
    >>> tally.lines, tally.num_bad
    (100, 1)
    """

    good: int = 0
    unwanted: Counter[str] = field(default_factory=Counter)
    bad_counts: Counter[str] = field(default_factory=Counter)
    bad_lines: dict[str, list[int]] = field(default_factory=dict)  # the first few of each reason
    absent: Counter[str] = field(default_factory=Counter)  # good records that lack this key

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
        first_lines = self.bad_lines.setdefault(reason, [])
        if len(first_lines) < _LINES_NAMED:
            first_lines.append(line)

    def take(self, to_row: ToRow, record: Mapping[str, Any], line: int) -> Row | None:
        """Return the record's Row, counted as good, or None, counted under its reason."""
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
        """Check that a source has few bad lines, has good ones, and has every mapped key.

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
        for key, count in self.absent.items():
            if count == self.good:
                raise CorpusError(
                    f"{source}: no line has a field {key!r}; change or delete it in corpus.columns"
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
            first_lines = self.bad_lines[reason]
            more = ", ..." if count > len(first_lines) else ""
            numbers = ", ".join(map(str, first_lines)) + more
            lines.append(f"\n  {count:,} {reason} (line {numbers})")
        return "".join(lines)


def row_maker(
    columns: Columns, tally: Tally | None = None, *, may_lack_community: bool = False
) -> ToRow:
    """Return a function that picks the mapped columns out of a record.

    A record needs the text alone: JSON is often written without keys that are null. Null, an empty
    cell and a missing key all mean "not known"; missing keys are counted in `tally`, as a key that
    no record has is a mistake. Votes and time may be numbers, or text that reads as one.

    Args:
        columns: the keys.
        tally: where missing keys are counted.
        may_lack_community: that key may be missing in all records.

    >>> from textmad.recipe import Columns
    >>> row_maker(Columns(text="body", votes="score"))({"body": "hello", "score": 3}).votes
    3.0
    """
    text, votes, community = columns.text, columns.votes, columns.community
    time, conversation = columns.time, columns.conversation
    if not (votes or community or time or conversation):
        return lambda record: Row(text_of(record, text))
    required = [votes, None if may_lack_community else community, time, conversation]
    counted = [key for key in required if key is not None]
    absent = Counter[str]() if tally is None else tally.absent

    def to_row(record: Mapping[str, Any]) -> Row:
        row = Row(
            text_of(record, text),
            number_of(record, votes) if votes else None,
            label_of(record, community) if community else None,
            seconds_of(record, time) if time else None,
            label_of(record, conversation) if conversation else None,
        )
        absent.update([key for key in counted if key not in record])
        return row

    return to_row


def text_of(record: Mapping[str, Any], key: str) -> str:
    """Return the text under `key`.

    Raises:
        BadLineError: there is none, it is not text, holds NULs, or is over 1 MiB.
    """
    value = record.get(key)
    if type(value) is not str:
        raise BadLineError(f"{key!r} is not text" if key in record else f"no field {key!r}")
    if len(value) > MAX_LINE:
        raise BadLineError(TOO_LONG)
    if "\0" in value:
        raise BadLineError(NULS)
    return value


def number_of(record: Mapping[str, Any], key: str) -> float | None:
    """Return the finite number under `key`; None where it is missing, null or empty.

    Raises:
        BadLineError: it is anything else.
    """
    value = record.get(key)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadLineError(f"{key!r} is not a number")
    return number


def seconds_of(record: Mapping[str, Any], key: str) -> float | None:
    """Return the time under `key` in seconds since 1970; None as in `number_of`.

    A number of 1e11 or more is read as milliseconds, of 1e14 as micro-, of 1e17 as nanoseconds:
    1e11 seconds are the year 5138, 1e11 milliseconds the year 1973.

    >>> seconds_of({"at": 1_262_304_000_000}, "at") == seconds_of({"at": 1_262_304_000}, "at")
    True

    Raises:
        BadLineError: it is no number, or beyond the year 5138 even in nanoseconds.
    """
    time = number_of(record, key)
    if time is None:
        return None
    for unit in (1, 1e3, 1e6, 1e9):
        if abs(time / unit) < _YEAR_5138:
            return time / unit
    raise BadLineError(f"{key!r} is no time")


def label_of(record: Mapping[str, Any], key: str) -> str | None:
    """Return the name or number under `key` as text; None as in `number_of`.

    Raises:
        BadLineError: it is anything else, or over 1 MiB.
    """
    value = record.get(key)
    if value is None or value == "":  # an empty id would tie all such documents together
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not _is_unicode(str(value)):
        raise BadLineError(f"{key!r} is neither text nor a whole number")
    label = str(value)
    if len(label) > MAX_LINE:
        raise BadLineError(TOO_LONG)
    return label


def _is_unicode(text: str) -> bool:
    """Return whether it has no half of a surrogate pair, which JSON can hold."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
