"""How an invalid setting is reported: one line, `path: what was given: what is expected`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

_EXPECTED = {
    "greater_than": "more than {gt:,.15g}",
    "greater_than_equal": "at least {ge:,.15g}",
    "less_than": "less than {lt:,.15g}",
    "less_than_equal": "at most {le:,.15g}",
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
    "int_parsing_size": "a whole number of at most 64 bits",
    "string_unicode": "text without halves of surrogate pairs",
}
# Names that other libraries use for a setting, and which no likeness of letters leads to.
_MEANT = {
    "lr": "learning_rate",
    "batch_size": "batch_tokens",
    "max_length": "max_new_tokens",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "warmup_ratio": "warmup",
    "r": "rank",
    "lora_alpha": "alpha",
    "target_modules": "targets",
    "name": "base",
    "path": "source",
}
_NOT_OF_THE_RECIPE = {
    "device": "the accelerator is chosen by the launcher; CUDA_VISIBLE_DEVICES= keeps to the CPU",
}
_MOST_FAULTS = 100
_MOST_CHARACTERS = 60  # of a value in a message
_NAME = re.compile(r"[A-Za-z_][\w.:<>]*: ")  # a setting, a filter or an evaluator


def fault_lines(error: ValidationError, group: type[BaseModel]) -> list[str]:
    """Return a line for each error of pydantic in the settings `group`; 100 at most."""
    items = error.errors(include_url=False)
    lines = [line for item in items[:_MOST_FAULTS] for line in _lines(item, group)]
    more = len(items) - _MOST_FAULTS
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def value_fault(path: str, value: Any, error: ValidationError) -> list[str]:
    """Return the faults of a single value, which stands at `path`."""
    items = error.errors()
    if all(item["input"] == value for item in items):  # invalid in each branch of a union
        branches = dict.fromkeys(_expected(item) for item in items)
        return [f"{path}: {shown(value)}: expected {' or '.join(branches)}"]
    return [
        f"{_dotted(path, *item['loc'])}: {shown(item['input'])}: expected {_expected(item)}"
        for item in items
    ]


def joined(path: str, message: str) -> str:
    """Return a message after its path; one that begins with a setting's name goes on with it."""
    if not path:
        return message
    return f"{path}{'.' if _NAME.match(message) else ': '}{message}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a continuation of the message that names what may have been meant, or "".

    >>> suggestion("temprature", ["temperature", "top_k"])
    '; did you mean temperature?'
    """
    known = list(known)
    close = difflib.get_close_matches(word[:_MOST_CHARACTERS], known, n=1)
    if not close and _MEANT.get(word) in known:
        close = [_MEANT[word]]
    return f"; did you mean {close[0]}?" if close else ""


def shown(value: Any) -> str:
    """Return a value as it stands in YAML, on one line and cut to 60 characters.

    >>> shown(["a", 1e-4, None])
    '[a, 0.0001, null]'
    """
    if isinstance(value, int) and abs(value) >= 10**_MOST_CHARACTERS:
        return "a whole number of more than 60 digits"  # Python writes none of 5,000 digits
    is_plain = value is None or isinstance(value, str | int | float | bool | list | dict)
    if is_plain:
        few = _beginning(value, [_MOST_CHARACTERS])
        text = yaml.safe_dump(few, default_flow_style=True, allow_unicode=True, width=1000)
        text = text.removesuffix("\n").removesuffix("\n...")
    else:
        text = str(value)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 3] + "..."


def _beginning(value: Any, left: list[int]) -> Any:
    """Return what a message can show of plain data: so many values, and no long texts."""
    left[0] -= 1
    if isinstance(value, str):
        return value[: 2 * _MOST_CHARACTERS]
    if isinstance(value, int) and abs(value) >= 10**_MOST_CHARACTERS:
        return "..."
    if isinstance(value, list | tuple):
        return [_beginning(item, left) for item in value[:_MOST_CHARACTERS] if left[0] > 0]
    if isinstance(value, dict):
        few = list(value.items())[:_MOST_CHARACTERS]
        return {
            key if isinstance(key, str) else str(key): _beginning(item, left)
            for key, item in few
            if left[0] > 0
        }
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _lines(item: Any, group: type[BaseModel]) -> list[str]:
    path = _dotted(*item["loc"])
    if item["type"] == "extra_forbidden":
        name, known = str(item["loc"][-1]), _siblings(item["loc"], group)
        if name in _NOT_OF_THE_RECIPE:
            return [f"{path}: unknown setting; {_NOT_OF_THE_RECIPE[name]}"]
        return [f"{path}: unknown setting{suggestion(name, known)}"]
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
    return ".".join(printable(part) for part in parts if part != "[key]")


def printable(part: Any) -> str:
    r"""Return a name from somebody's file as a message can show it: one line, not too long.

    >>> print(printable("seed\x1b[2J"))
    seed\x1b[2J
    """
    text = part if isinstance(part, str) else str(part)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 3] + "..."


def _siblings(location: tuple[Any, ...], group: Any) -> list[str]:
    """Return the settings that are known where the unknown one stands."""
    for part in location[:-1]:
        if str(part) not in group.model_fields:  # a name that the user has given to settings
            continue
        annotation = group.model_fields[str(part)].annotation
        options = getattr(annotation, "__args__", (annotation,))  # of `LoraSettings | None`
        group = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(group.model_fields)
