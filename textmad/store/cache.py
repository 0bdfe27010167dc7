"""A folder of results that several runs need: one run computes each, the others read it.

CACHE/<key>/   the files of one result, and manifest.json, as in a stage's folder

The key is the SHA-256 of everything that the result depends on, so nothing in the folder is ever
out of date, and all of it may be deleted. A result is written under a random temporary name, synced
and renamed: whoever reads it sees it whole or not at all. A damaged one counts as missing.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textmad.errors import RunError
from textmad.store.commit import Write, committed, replace
from textmad.store.files import TEMPORARY, make_folder, opened_to_write, remove, writing
from textmad.store.manifest import Manifest, stage_key

_LOCK = ".sharing"
_LEFT_OVER = 24 * 3600.0  # seconds; nobody takes so long to write one result


class Cache:
    """The results in the folder `path`, which is made when the first one is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, name: str, inputs: Mapping[str, Any]) -> Path | None:
        """Return the folder of a result with these inputs; None where there is no intact one."""
        folder = self.path / stage_key(inputs)
        try:
            manifest = committed(folder, name, inputs, verify=True)
        except RunError:  # damaged: it is computed again
            return None
        return None if manifest is None else folder

    def keep(self, name: str, inputs: Mapping[str, Any], write: Write) -> None:
        """Keep what `write` puts into a folder as the result with these inputs; call it `alone`.

        An intact one that is there already stays; a damaged one is replaced.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        if self.find(name, inputs) is None:
            replace(self.path / stage_key(inputs), name, inputs, write)

    @contextmanager
    def alone(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Be the only one inside who computes or keeps the result with these inputs.

        It is not entered twice: the operating system would then open the outer lock too.

        Raises:
            RunError: the folder cannot be written.
        """
        with writing(self.path):
            make_folder(self.path)
        with alone(self.path, stage_key(inputs)):
            yield

    def clear(self) -> None:
        """Delete what processes that were killed have left half written.

        Raises:
            RunError: it cannot be deleted.
        """
        with writing(self.path):
            for path in self.path.glob(f"{TEMPORARY}*"):
                try:
                    if path.lstat().st_mtime < time.time() - _LEFT_OVER:
                        remove(path)
                except FileNotFoundError:  # another run deletes it too
                    continue


def open_cache(path: Path, out: Path) -> Cache:
    """Open the cache of a run into the folder `out`; make it where it is missing.

    Raises:
        RunError: it is no folder, cannot be made, or holds something else; or it lies in `out`, or
            `out` in it.
    """
    where, own, run = f"--cache {path}", path.resolve(), out.resolve()
    if own.is_relative_to(run) or run.is_relative_to(own):
        raise RunError(f"{where}: lies in --out {out}, or that in it: expected two places")
    if path.exists() and not path.is_dir():
        raise RunError(f"{where}: is no folder: expected a cache of other runs, or a new place")
    try:
        make_folder(path)
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        why = error.strerror or str(error)
        raise RunError(
            f"{where}: cannot be made: {why}: allow writing there, or choose another place"
        ) from error
    if strange := [name for name in names if not re.fullmatch(r"[0-9a-f]{64}|\..*", name)]:
        raise RunError(
            f"{where}: holds {', '.join(strange[:3])}, which is no cache's: expected a cache of "
            "other runs, or a new or empty folder"
        )
    cache = Cache(path)
    cache.clear()
    return cache


@contextmanager
def alone(folder: Path, key: str) -> Iterator[None]:
    """Hold the key's byte of one file: a lock that goes with the process and leaves nothing."""
    with opened_to_write(folder / _LOCK) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, int(key[:15], 16))
        yield


def linked(source: Path, manifest: Manifest) -> Callable[[Path], None]:
    """Return a function that links a stage's files into a folder, or copies them."""

    def link(place: Path) -> None:
        for name in manifest.files:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source / name, place / name)
            except OSError:  # this file system has no hard links, or it is another one
                shutil.copyfile(source / name, place / name)

    return link
