"""YAML in and out as recipes use it, and single values laid over it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from textmad.errors import RecipeError
from textmad.recipe.validation_errors import shown

# YAML 1.1, which PyYAML reads, takes a number without a point or a sign for text: 1e-4, 2.0e4.
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number, and refuses a key given twice instead of keeping the last."""


class _Dumper(yaml.SafeDumper):
    """Puts the text "1e-4" into quotes, as `_Loader` would take it for a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        if (key.tag, str(key.value)) in seen:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key.value} is given twice", problem_mark=key.start_mark
            )
        seen.add((key.tag, str(key.value)))
    return dict(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; `where` opens the error message.

    >>> parse_yaml("learning_rate: 1e-4", "recipe.yaml")
    {'learning_rate': 0.0001}

    Raises:
        RecipeError: it is not YAML, or gives a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(f"{where}: not valid YAML: {place}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no date, too deep, ...
        why = " ".join(str(error).split())
        raise RecipeError(f"{where}: not valid YAML: {why}") from None


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        RecipeError: it cannot be read, is not YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not valid YAML: not UTF-8 text: {error}") from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: {shown(data)}: expected settings as `key: value`")
    return data


def to_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML, its keys in their order; `parse_yaml` gives it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_override(text: str) -> tuple[str, Any]:
    """The path and the value of one `--set PATH=VALUE`.

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
        RecipeError: the path leads to a place that a list does not have.
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
    """The place in a list that `name` is the number of; else the key itself."""
    if not isinstance(group, list):
        return name
    if not name.isdecimal() or int(name) >= len(group):
        places = f"0 to {len(group) - 1}" if group else "none, the list is empty"
        raise RecipeError(f"{dotted}: {name}: no such place in the list: expected {places}")
    return int(name)
