"""Turn Arrow columns into Python values, also those of damaged or hostile files.

Arrow's own conversion raises at a date beyond the calendar, an unknown time zone or bytes that are
not UTF-8, and it copies a long value once for each row that shares it.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from textmad.corpus.records import BAD_UTF8, MAX_LINE, TOO_LONG, BadLineError

_UNITS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECONDS_A_DAY = 86_400
_BAD_VALUE = "a value that cannot be read"


def is_plain(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds one text, number or time a row."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    nested = pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind)
    return not nested and not isinstance(kind, pa.BaseExtensionType)


def values_of(column: pa.Array) -> list[Any]:
    """Return a column's values; a BadLineError in the place of one that cannot be read.

    Times are numbers in seconds since 1970; those without a zone are in UTC.
    """
    if pa.types.is_dictionary(column.type):
        # Only the values that these rows use: a dictionary may be far larger than its rows.
        column.indices.validate(full=True)
        used, indices = _distinct(column)
        values = values_of(used)
        return [None if index is None else values[index] for index in indices]
    if _is_text(column.type):
        return _texts(column)
    column.validate(full=True)
    if pa.types.is_timestamp(column.type):
        times = column.cast(pa.int64()).to_pylist()
        unit = _UNITS_A_SECOND[column.type.unit]
        return [None if time is None else time / unit for time in times]
    if pa.types.is_date32(column.type):
        days = column.cast(pa.int32()).to_pylist()
        return [None if day is None else day * _SECONDS_A_DAY for day in days]
    if pa.types.is_date64(column.type):
        times = column.cast(pa.int64()).to_pylist()
        return [None if time is None else time / 1000 for time in times]
    return [_scalar(value) for value in column]


def _distinct(column: pa.DictionaryArray) -> tuple[pa.Array, list[int | None]]:
    """Return the values that the rows use, once each, and each row's index among them."""
    encoded = column.indices.dictionary_encode()
    rows = encoded.dictionary.cast(pa.int64())
    if len(rows) and not (
        pc.min(rows).as_py() >= 0 and pc.max(rows).as_py() < len(column.dictionary)
    ):
        raise pa.ArrowInvalid("an index is outside of its dictionary")
    return column.dictionary.take(rows), encoded.indices.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _texts(column: pa.Array) -> list[Any]:
    """Return strings; one over the bound is not copied but a BadLineError."""
    if pa.types.is_string_view(column.type):
        column.validate(full=False)
        column = column.cast(pa.binary_view()).cast(pa.large_binary())
    else:
        is_large = pa.types.is_large_string(column.type)
        column = column.view(pa.large_binary() if is_large else pa.binary())
    column.validate(full=True)  # as bytes: bad UTF-8 is a bad line, a bad offset a bad file
    is_long = pc.greater(pc.binary_length(column), 4 * MAX_LINE)
    short = pc.if_else(is_long, None, column) if pc.any(is_long).as_py() else column
    values = [None if value is None else _decoded(value) for value in short.to_pylist()]
    for row, long in enumerate(is_long.to_pylist()):
        if long:
            values[row] = BadLineError(TOO_LONG)
    return values


def _decoded(value: bytes) -> str | BadLineError:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return BadLineError(BAD_UTF8)


def _scalar(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except Exception:  # of Python's own types for it: each has its bounds and its error
        return BadLineError(_BAD_VALUE)
