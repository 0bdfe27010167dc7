"""Folders that `save_to_disk` of `datasets` wrote: which of their files hold the rows.

They are read here and not by `datasets`, so that what is digested is what is opened, and so that
a broken or hostile folder is an error with a reason. `state.json` names the files:

    data/  dataset_info.json  state.json  data-00000-of-00001.arrow

and a folder of several splits has `dataset_dict.json` and such a folder for each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

from textmad.errors import CorpusError, disk_error

_LARGEST_JSON = 2**22  # bytes; names of 50,000 files


def dataset_files(folder: Path, split: str) -> list[Path]:
    """Return the Arrow files of a split, in the order of its rows.

    Raises:
        CorpusError: it is no such folder, has no such split, or names a file outside itself.
    """
    if (folder / "dataset_dict.json").exists():
        splits = _read_object(folder, "dataset_dict.json").get("splits")
        if not _are_texts(splits):
            raise _broken(folder, "dataset_dict.json names no splits")
        if split not in splits:
            raise CorpusError(
                f"{folder}: no split {split!r}; set corpus.split to one of {', '.join(splits)}"
            )
        inner = folder / split
        if inner.resolve().parent != folder.resolve():
            raise _broken(folder, f"the split {split!r} is not in the folder")
        folder = inner
    state = _read_object(folder, "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise _broken(folder, "it holds a selection that an old version did not write out")
    files = state.get("_data_files")
    entries = files if isinstance(files, list) else []
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    if not names or not _are_texts(names):
        raise _broken(folder, "state.json names no data files")
    return [_inside(folder, name) for name in names]


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        is_inside = path.resolve().parent == folder.resolve() and path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, links in a circle
        if of_disk := disk_error(error):
            raise CorpusError(f"{path}: cannot be read: {of_disk.strerror}") from None
        is_inside = False
    if not is_inside:
        raise _broken(folder, f"state.json names {name!r}, which is no file in it")
    return path


def _read_object(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        if not path.is_file():
            raise _broken(folder, f"no file {name}")
        with path.open("rb") as file:
            text = file.read(_LARGEST_JSON + 1)
        if len(text) > _LARGEST_JSON:
            raise _broken(folder, f"{name} is over {_LARGEST_JSON:,} bytes")
        value = json.loads(text)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise _broken(folder, f"{name} is not JSON") from None
    if not isinstance(value, dict):
        raise _broken(folder, f"{name} is no JSON object")
    return value


def _are_texts(values: object) -> TypeGuard[list[str]]:
    """Return whether it is a list of texts that a path can be made of."""
    return isinstance(values, list) and all(
        isinstance(value, str) and value.isprintable() for value in values
    )


def _broken(folder: Path, reason: str) -> CorpusError:
    return CorpusError(
        f"{folder}: not a folder that datasets' save_to_disk wrote ({reason}); "
        "give corpus.source such a folder, or one file"
    )
