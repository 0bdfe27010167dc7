"""What a stage was made from and consists of, its key, and how two sets of inputs differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any, Self, TypedDict

MANIFEST = "manifest.json"


class FileRecord(TypedDict):
    """Size and SHA-256 of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a committed stage was made from, and the files it consists of."""

    stage: str
    key: str
    inputs: dict[str, Any]
    files: dict[str, FileRecord]

    @property
    def digest(self) -> str:
        """SHA-256 of name and files, for the keys of the stages that read them."""
        return stage_key({"stage": self.stage, "files": self.files})

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON. It holds no time, so equal stages have equal manifests."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read it back.

        Raises:
            ValueError: it is not what was written.
        """
        try:
            manifest = cls(**json.loads(data))
            intact = manifest.key == stage_key(manifest.inputs)
            for name, record in manifest.files.items():
                intact = intact and len(record["sha256"]) == 64 and record["bytes"] >= 0
                intact = intact and _is_below(name)
        except (TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ValueError("not a manifest") from error
        if not intact:
            raise ValueError("its key is not that of its inputs, or a file's record is wrong")
        return manifest


def _is_below(name: str) -> bool:
    """Whether a file's name stays below its folder: relative, and without "..".

    >>> _is_below("inner/a.json"), _is_below("../a.json"), _is_below("/etc/passwd")
    (True, False, False)
    """
    path = PurePosixPath(name)
    is_plain = path.as_posix() == name and "\0" not in name and "\\" not in name
    return is_plain and path.parts != () and not path.is_absolute() and ".." not in path.parts


def stage_key(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a stage's result depends on, as canonical JSON.

    The order of keys does not matter, nor does a whole number's type (YAML's 1 and 1.0).

    >>> stage_key({"seed": 0, "keep": 1}) == stage_key({"keep": 1.0, "seed": 0})
    True
    """
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """List the places where two nestings of JSON values differ, a line each.

    >>> differences({"seed": 0, "mix": {"human": "fixed"}}, {"seed": 1, "mix": {"human": "fresh"}})
    ['seed: 0 there, 1 now', 'mix.human: fixed there, fresh now']
    """
    pairs: list[tuple[Any, Any, Any]]
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [*before, *(key for key in now if key not in before)]
        pairs = [(key, before.get(key, _ABSENT), now.get(key, _ABSENT)) for key in keys]
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple):
        filled = zip_longest(before, now, fillvalue=_ABSENT)
        pairs = [(index, old, new) for index, (old, new) in enumerate(filled)]
    elif before is not _ABSENT and now is not _ABSENT and canonical(before) == canonical(now):
        return []
    else:
        return [f"{path}: {_shown(before)} there, {_shown(now)} now"]
    prefix = f"{path}." if path else ""
    return [line for key, old, new in pairs for line in differences(old, new, f"{prefix}{key}")]


_ABSENT = object()


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = value if isinstance(value, str) else json.dumps(plain(value))
    return text if len(text) <= 80 else text[:77] + "..."


def canonical(value: Any) -> str:
    """JSON values as text that is equal where the values are: key order and 1 or 1.0 do not count.

    >>> canonical({"b": 1.0, "a": [True]})
    '{"a":[true],"b":1}'
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """As JSON gives it back, whole floats as integers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
