"""How a refused setting is reported: one line, `path: what was given: what is expected`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

_EXPECTED = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "callable_type": "a function",
    "none_required": "null",
    "model_type": "settings as `key: value`",
    "dict_type": "settings as `key: value`",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "at least {min_length} entry",
}
_NAME = re.compile(r"[A-Za-z_][\w.:<>]*: ")  # a setting, a filter or an evaluator


def fault_lines(error: ValidationError, group: type[BaseModel]) -> list[str]:
    """Every fault that pydantic found in the settings `group`."""
    return [line for item in error.errors() for line in _lines(item, group)]


def value_fault(path: str, value: Any, error: ValidationError) -> list[str]:
    """The faults of a single value, which stands at `path`."""
    items = error.errors()
    if all(item["input"] == value for item in items):  # each branch of a union refused it
        branches = dict.fromkeys(_expected(item) for item in items)
        return [f"{path}: {shown(value)}: expected {' or '.join(branches)}"]
    return [
        f"{_dotted(path, *item['loc'])}: {shown(item['input'])}: expected {_expected(item)}"
        for item in items
    ]


def joined(path: str, message: str) -> str:
    """The path before a message; one that begins with a setting's name goes on with the path."""
    if not path:
        return message
    return f"{path}{'.' if _NAME.match(message) else ': '}{message}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """A continuation of the message that names what may have been meant, or nothing.

    >>> suggestion("temprature", ["temperature", "top_k"])
    '; did you mean temperature?'
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(value: Any) -> str:
    """A value as it stands in YAML, on one line and not too long."""
    is_plain = value is None or isinstance(value, str | int | float | bool | list | dict)
    text = str(value)
    if is_plain:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
        text = text.removesuffix("\n").removesuffix("\n...")
    return text if len(text) <= 60 else text[:57] + "..."


def _lines(item: Any, group: type[BaseModel]) -> list[str]:
    path = _dotted(*item["loc"])
    if item["type"] == "extra_forbidden":
        hint = suggestion(str(item["loc"][-1]), _siblings(item["loc"], group))
        return [f"{path}: unknown setting{hint}"]
    if item["type"] == "missing":
        return [f"{path}: is missing"]
    if item["type"] == "value_error":
        return [joined(path, line) for line in str(item["ctx"]["error"]).splitlines()]
    return [f"{path}: {shown(item['input'])}: expected {_expected(item)}"]


def _expected(item: Any) -> str:
    words = _EXPECTED.get(item["type"])
    if words is None:
        return str(item["msg"]).removeprefix("Input should be ")
    return words.format(**item.get("ctx", {}))


def _dotted(*parts: Any) -> str:
    return ".".join(str(part) for part in parts if part != "[key]")


def _siblings(location: tuple[Any, ...], group: Any) -> list[str]:
    """The settings known where the unknown one stands."""
    for part in location[:-1]:
        annotation = group.model_fields[str(part)].annotation
        options = getattr(annotation, "__args__", (annotation,))  # of `LoraSettings | None`
        group = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(group.model_fields)
