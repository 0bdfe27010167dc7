"""YAML in and out as recipes use it, and single values that override others."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from textmad.errors import RecipeError
from textmad.recipe.validation_errors import shown

# YAML 1.1, which PyYAML reads, takes a number without a point or a sign for text: 1e-4, 2.0e4.
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")

# A recipe has some hundred values, and the record of a study with 500 arms some 70,000.
_MOST_BYTES = 2_000_000
_MOST_VALUES = 100_000  # what aliases stand for is counted each time
_DEEPEST = 50


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number and a date as text; an error for what a recipe cannot hold.

    That is a key given twice, of which PyYAML keeps the last; a whole number beyond 64 bits; half
    of a surrogate pair, which no file can hold; and aliases that stand for more than can be read.
    """

    def construct_document(self, node: yaml.Node) -> Any:
        """Construct the value of a document whose size is known to be bounded."""
        _count_values(node, {}, ())
        return super().construct_document(node)


class _Dumper(yaml.SafeDumper):
    """Puts the text "1e-4" into quotes, as `_Loader` would take it for a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _fault(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _count_values(node: yaml.Node, counts: dict[int, int], path: tuple[int, ...]) -> int:
    """Return how many values a node stands for, aliases followed; too many are an error."""
    if id(node) in path:
        raise _fault(node, "an alias stands for a value that it is itself a part of")
    if len(path) >= _DEEPEST:
        raise _fault(node, f"values are nested more than {_DEEPEST} deep")
    if id(node) not in counts:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        inner = (*path, id(node))
        counts[id(node)] = 1 + sum(_count_values(part, counts, inner) for part in parts)
    if counts[id(node)] > _MOST_VALUES:
        raise _fault(node, f"stands for more than {_MOST_VALUES:,} values, aliases counted")
    return counts[id(node)]


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        if (key.tag, str(key.value)) in seen:
            raise _fault(key, f"the key {key.value} is given twice")
        seen.add((key.tag, str(key.value)))
    return dict(loader.construct_mapping(node, deep=True))


def _bounded_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    number = int(loader.construct_yaml_int(node))
    if not -(2**63) <= number < 2**63:
        raise _fault(node, "a whole number beyond 64 bits")
    return number


def _whole_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _fault(node, "a text with half of a surrogate pair, which is no character")
    return text


def _undefined(loader: _Loader, node: yaml.Node) -> Any:
    return loader.construct_undefined(node)


_TAG = "tag:yaml.org,2002:"
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
_Loader.add_constructor(f"{_TAG}int", _bounded_int)
_Loader.add_constructor(f"{_TAG}str", _whole_text)
_Loader.add_constructor(f"{_TAG}timestamp", _whole_text)  # no setting is a date
for _unknown in ("binary", "omap", "pairs", "set"):  # a recipe has no place for any of these
    _Loader.add_constructor(f"{_TAG}{_unknown}", _undefined)


def parse_yaml(text: str, where: str) -> Any:
    """Read a YAML text and return its value; `where` opens the error message.

    >>> parse_yaml("learning_rate: 1e-4", "recipe.yaml")
    {'learning_rate': 0.0001}

    Raises:
        RecipeError: it is not YAML, gives a key twice, or holds more than a recipe can.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(f"{where}: not valid YAML: {place}{error.problem}") from None
    except Exception as error:  # PyYAML lets out whatever a wrong value makes Python raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise RecipeError(f"{where}: not valid YAML: {why}") from None


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file and return the mapping in it.

    Raises:
        RecipeError: it cannot be read, is no regular file, is too large, is not YAML, or holds
            something else.
    """
    try:
        content = read_bounded(path)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a NUL byte
        raise RecipeError(f"{shown(str(path))}: cannot be read: {error}") from None
    return settings_in(content, str(path))


def settings_in(content: bytes, where: str) -> dict[str, Any]:
    """Return the mapping in a file's content; `where` opens the error message.

    Raises:
        RecipeError: it is not YAML, or holds something else.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{where}: not valid YAML: not UTF-8 text: {error}") from None
    data = parse_yaml(text, where)
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: {shown(data)}: expected settings as `key: value`")
    return data


def read_bounded(path: Path) -> bytes:
    """Return the content of a regular file that is not larger than a recipe can be.

    Raises:
        OSError: it cannot be read.
        RecipeError: it is larger, or a device, which never ends.
    """
    # Without O_NONBLOCK a FIFO would be waited for here.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(None, "Is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise RecipeError(f"{path}: cannot be read: it is no regular file")
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise RecipeError(
            f"{path}: cannot be read: it has more than {_MOST_BYTES:,} bytes, which no recipe or "
            "study has"
        )
    return content


def to_yaml(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML, its keys in their order; `parse_yaml` gives it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `--set PATH=VALUE` and return the path and the value.

    >>> parse_override("train.learning_rate=2e-4")
    ('train.learning_rate', 0.0002)

    Raises:
        RecipeError: it is not of that form, or the value is not YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {text}: expected PATH=VALUE, as in train.learning_rate=2e-4")
    return path, parse_yaml(value, f"--set {text}")


def lay_over(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Put `value` at the path `dotted`, in place; groups that are missing are made.

    >>> settings = {"curate": ["random"]}
    >>> lay_over(settings, "curate.0.random.keep", 0.5)
    >>> settings
    {'curate': [{'random': {'keep': 0.5}}]}

    Raises:
        RecipeError: the path leads to a position that a list does not have.
    """
    group: Any = data
    *parents, last = dotted.split(".")
    for name in parents:
        key = _key(group, name, dotted)
        below = group[key] if isinstance(group, list) else group.get(key)
        if isinstance(group, list) and isinstance(below, str):  # a filter without settings
            below = {below: {}}
        group[key] = below if isinstance(below, dict | list) else {}
        group = group[key]
    group[_key(group, last, dotted)] = value


def _key(group: Any, name: str, dotted: str) -> Any:
    """Return the index in a list that `name` is; else the key itself."""
    if not isinstance(group, list):
        return name
    if not (name.isascii() and name.isdecimal()) or _index(name) >= len(group):
        places = f"0 to {len(group) - 1}" if group else "none, the list is empty"
        raise RecipeError(f"{dotted}: {name}: no such place in the list: expected {places}")
    return int(name)


def _index(digits: str) -> float:
    return float(digits)  # int() takes no texts of thousands of digits
