"""The records at the top of a folder with a checksum: recipe, provenance and study.

Each holds the SHA-256 of its other content, so that a file which was damaged or changed by hand is
not taken for what was written. Records without one, of an older textmad, are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from textmad.errors import RunError
from textmad.recipe import Recipe, stored_recipe
from textmad.recipe.yaml_text import read_bounded, settings_in
from textmad.store.files import reading
from textmad.store.manifest import stage_key

_SEAL = "sha256"
_SEALED = re.compile(rb"# sha256 of the lines below: ([0-9a-f]{64})\n")


def recipe_bytes(recipe: Recipe) -> bytes:
    """The resolved recipe as YAML, below a comment with its SHA-256."""
    return sealed_yaml(recipe.to_yaml())


def sealed_yaml(text: str) -> bytes:
    """YAML below a comment with its SHA-256."""
    data = text.encode()
    return f"# sha256 of the lines below: {hashlib.sha256(data).hexdigest()}\n".encode() + data


def read_recipe(path: Path) -> Recipe:
    """Read the resolved recipe of a run.

    Raises:
        RunError: it cannot be read, or is not what textmad wrote.
        RecipeError: it is no recipe.
    """
    with reading(path):
        content = read_bounded(path)
    _check_seal(content, path, "the run")
    return stored_recipe(content, str(path))


def read_sealed_yaml(path: Path, owner: str) -> dict[str, Any]:
    """Read what `sealed_yaml` wrote; `owner` is what it belongs to, as "the study".

    Raises:
        RunError: it cannot be read, or is not what textmad wrote.
        RecipeError: it is no mapping in YAML.
    """
    with reading(path):
        content = read_bounded(path)
    record = settings_in(content, str(path))
    _check_seal(content, path, owner)
    return record


def _check_seal(content: bytes, path: Path, owner: str) -> None:
    if content.startswith(b"# sha256"):
        sealed = _SEALED.match(content)
        written = content[sealed.end() :] if sealed else b""
        if not sealed or hashlib.sha256(written).hexdigest().encode() != sealed[1]:
            raise _changed(path, owner)


def sealed_json(record: Mapping[str, Any]) -> bytes:
    """A record as JSON, with its SHA-256 as the last key."""
    return (json.dumps({**record, _SEAL: stage_key(record)}, indent=1) + "\n").encode()


def read_sealed_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """Read what `sealed_json` wrote, without the checksum.

    Raises:
        RunError: it cannot be read, is not what textmad wrote, or lacks one of the `keys`.
    """
    record = read_json(path)
    if not isinstance(record, dict) or not record.keys() >= set(keys):
        raise _changed(path)
    if _SEAL in record and record.pop(_SEAL) != stage_key(record):
        raise _changed(path)
    return record


def read_json(path: Path) -> Any:
    """The content of a JSON file of the run folder.

    Raises:
        RunError: it cannot be read.
    """
    with reading(path):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file of a stage, for people to read too."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _changed(path: Path, owner: str = "the run") -> RunError:
    return RunError(
        f"{path}: is not what textmad wrote (checksum or keys differ): put the file of a backup "
        f"there, or delete {owner}"
    )
