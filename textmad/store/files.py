"""Files written whole, locked and synced, in folders that other people may write too.

Every temporary name is random and is created with O_EXCL, so that a link which somebody has put
there is never followed; locks and logs are opened with O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from textmad.errors import RunError, TextmadError, unreadable

T = TypeVar("T")

TEMPORARY = ".tmp-"  # how the names of unfinished files and folders begin

_REMEDY = {
    # Arrow gives no number when a file cannot be closed.
    None: "free some space, check the disk, or choose another --out; the same command resumes",
    errno.ENOSPC: "free some space; the same command resumes",
    errno.EDQUOT: "free some space; the same command resumes",
    errno.EIO: "check the disk, or choose another --out; the same command resumes",
    errno.ENOTDIR: "a file is in the way; choose another --out",
    errno.EEXIST: "a file is in the way; choose another --out",
    errno.ELOOP: "it is a symbolic link: delete the link, or choose another --out",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's errors, and those of libraries in Rust, into RunError."""
    try:
        yield
    except TextmadError:
        raise
    except OSError as error:
        raise _not_written(path, error.strerror or str(error), error.errno) from error
    except Exception as error:
        # safetensors and tokenizers hold the number in their text: "... (os error 28)".
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None and not isinstance(error, SafetensorError):
            raise
        raise _not_written(path, str(error), int(number[1]) if number else None) from error


def _not_written(path: Path, why: str, number: int | None) -> RunError:
    remedy = _REMEDY.get(number, "allow writing there, or choose another --out")
    return RunError(f"{path}: cannot be written: {why}: {remedy}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about what is there into RunError."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


def check_unused(folder: Path) -> None:
    """Check that a folder which is to be filled is absent or empty.

    Raises:
        RunError: there is something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: holds something: expected an empty folder, or none")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or, after a kill or on a full disk, as it was before.

    Of two writers at the same time the last one wins.

    Raises:
        RunError: the disk is full, the place cannot be written, or something is there that is no
            ordinary file: a symbolic link, a device, a folder.
    """
    temporary = new_name(path)
    with writing(path):
        _check_is_file(path)
        try:
            create(temporary, data)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def append(path: Path, text: str) -> None:
    """Append lines to a log, in one write, so that lines of several processes stay whole.

    Raises:
        RunError: it cannot be written, or is no ordinary file.
    """
    is_new = not path.exists()
    with opened_to_write(path, os.O_APPEND) as descriptor, writing(path):
        os.write(descriptor, text.encode(errors="backslashreplace"))
        os.fsync(descriptor)
    if is_new:
        sync(path.parent)


@contextmanager
def opened_to_write(path: Path, flags: int = 0) -> Iterator[int]:
    """Open, or create, an ordinary file to read and write; yield its descriptor.

    Raises:
        RunError: it cannot be opened, or is a symbolic link or no ordinary file.
    """
    with writing(path):
        _check_is_file(path)  # opening a FIFO would wait
        flags |= os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        with writing(path):
            os.close(descriptor)


def _check_is_file(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "a folder, a device or a pipe"
        raise RunError(
            f"{path}: cannot be written: it is {kind}, expected an ordinary file or none: delete "
            "it, or choose another place"
        )


def new_name(path: Path) -> Path:
    """A name beside `path` for something unfinished, which nobody can guess."""
    return path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")


def create(path: Path, data: bytes) -> None:
    """Write and sync a file that is not there yet."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Have a file, or a folder's entries, on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and the missing ones above it; all of their entries are on the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --- read once ------------------------------------------------------------------------------

_RESULTS: dict[tuple[Any, ...], Any] = {}

# A file may change twice within a tick of the file system's clock, which its time does not tell.
_TICK = 2.0  # seconds, the coarsest in use (FAT)


def read_once(path: Path, read: Callable[[BufferedReader], T]) -> T:
    """Return what `read` gives for a file, read again only if inode, time or size have changed."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        key = (read, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if key not in _RESULTS:
            result = read(file)
            if time.time() - status.st_mtime < _TICK:
                return result
            _RESULTS[key] = result
    known: T = _RESULTS[key]
    return known


def digest_once(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return read_once(path, _sha256)


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
