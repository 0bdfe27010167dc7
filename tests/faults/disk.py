"""What a disk still holds after the power went: no more than what was synced.

A file's content is on the disk once the file was synced, an entry of a folder once the folder was.
POSIX promises no more than that.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tests.faults.intercepted import Operation
from textmad.store.files import TEMPORARY

# What a folder holds: each path below it with the file's content, or None for a folder.
Tree = dict[str, bytes | None]

_RANDOM: Final = re.compile(r"-[0-9a-f]{16}\b")


def tree(folder: Path) -> Tree:
    """What is in a folder now."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        found[path.relative_to(folder).as_posix()] = None if path.is_dir() else path.read_bytes()
    return found


def plant(found: Tree, folder: Path) -> None:
    """Write what a tree holds into a new folder."""
    folder.mkdir(parents=True)
    for name, content in found.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def shape(found: Tree, ignored: Collection[str] = ()) -> int:
    """A number that is the same for trees which differ in random names alone.

    Of the files that are `ignored` only the names count.
    """
    return hash(
        frozenset(
            (stable(name), b"" if name in ignored else content) for name, content in found.items()
        )
    )


def without_unfinished(found: Tree) -> Tree:
    """The tree with no bytes in unfinished files, which the next start deletes unread."""
    return {
        name: b"" if TEMPORARY in name and content is not None else content
        for name, content in found.items()
    }


def stable(name: str) -> str:
    """A path without what is random in it."""
    return _RANDOM.sub("", name)


class Disk:
    """The synced state of a folder; told of each operation before it is carried out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, tuple[int, bool]]] = {}
        self._held: list[int] = []  # open files, so that no inode's number is used again

    def note(self, operation: Operation) -> None:
        """Take over what a sync is about to bring to the disk."""
        if operation.name not in ("fsync", "fdatasync"):
            return
        opened = f"/proc/{operation.task}/fd/{operation.descriptor}"
        self._held.append(os.open(opened, os.O_RDONLY))
        status = os.fstat(self._held[-1])
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(opened) as entries:
                self._entries[status.st_ino] = {
                    entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False))
                    for entry in entries
                }
        else:
            self._contents[status.st_ino] = os.pread(self._held[-1], status.st_size, 0)

    def after_power_loss(self) -> Tree:
        """What is there when neither a content nor an entry survived that was not synced."""
        found: Tree = {}
        self._add(self._folder.parent.stat().st_ino, "", found)
        prefix = f"{self._folder.name}/"
        return {
            name.removeprefix(prefix): c for name, c in found.items() if name.startswith(prefix)
        }

    def after_power_loss_of_contents(self) -> Tree:
        """What is there when every entry survived, but no content that was not synced."""
        found = tree(self._folder)
        for name, content in found.items():
            if content is not None:
                inode = (self._folder / name).stat().st_ino
                found[name] = self._contents.get(inode, b"")
        return found

    def close(self) -> None:
        """Let go of the inodes."""
        for descriptor in self._held:
            os.close(descriptor)

    def _add(self, inode: int, prefix: str, found: Tree) -> None:
        for name, (below, is_folder) in self._entries.get(inode, {}).items():
            found[prefix + name] = None if is_folder else self._contents.get(below, b"")
            if is_folder:
                self._add(below, f"{prefix}{name}/", found)
