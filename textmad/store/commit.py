"""The commit protocol: a stage is in the run folder whole, or not at all.

A stage is written into a temporary folder beside its place, every file is synced, its
`manifest.json` comes last, and one rename puts it in place. A kill at any moment leaves either no
stage or a whole one; what is left of temporary folders goes when the run folder is next locked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textmad.errors import RunError, TextmadError
from textmad.store.manifest import MANIFEST, FileRecord, Manifest, differences, plain, stage_key

TEMPORARY = ".tmp-"  # how the names of unfinished files and folders begin


def commit(
    folder: Path,
    stage: str,
    inputs: Mapping[str, Any],
    write: Callable[[Path], None],
) -> Manifest:
    """Make the stage `folder` from what `write` puts into the (temporary) folder it is given.

    Args:
        folder: the stage's place; remains of an uncommitted stage there are replaced.
        stage: its name in messages and in the manifest, as in "gen-00/mix".
        inputs: everything that the result depends on; JSON values. See `stage_key`.
        write: writes the files. Whatever it raises, the stage does not come to be.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    assert not (folder / MANIFEST).exists(), f"{folder} is committed already"
    temporary = folder.with_name(TEMPORARY + folder.name)
    with writing(folder):
        try:
            _make_parent(folder)
            _remove(temporary)
            temporary.mkdir()
            write(temporary)
            manifest = _describe(temporary, stage, inputs)
            for name in manifest.files:
                _sync(temporary / name)
            _write_synced(temporary / MANIFEST, manifest.to_bytes())
            for subfolder, _, _ in os.walk(temporary):
                _sync(Path(subfolder))
            _put_in_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def committed(
    folder: Path, inputs: Mapping[str, Any] | None = None, *, verify: bool = False
) -> Manifest | None:
    """The manifest of the stage `folder`, or None where no stage is committed.

    Names and sizes of the files are always checked. Their SHA-256 is checked with `verify`, which
    `begin` does for every stage, once, when a run is resumed.

    Raises:
        RunError: the stage is damaged, or was made from other `inputs` than those given; the
            message names the file, or the inputs that differ.
    """
    try:
        manifest = Manifest.from_bytes((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{folder / MANIFEST}: cannot be read: {error.strerror}") from error
    except ValueError:
        raise _damaged(folder, MANIFEST, "is not what was written") from None
    _check_files(folder, manifest, verify)
    if inputs is not None and manifest.key != stage_key(inputs):
        differing = "\n  ".join(differences(manifest.inputs, inputs))
        raise RunError(
            f"{folder}: was made from other inputs than this command has; a run continues with "
            f"what it began with: restore that, use another --out, or delete the run\n  {differing}"
        )
    return manifest


def confirm(
    folder: Path,
    stage: str,
    inputs: Mapping[str, Any],
    write: Callable[[Path], None],
) -> Manifest:
    """Write a committed stage again, and record that it comes out the same from `inputs`.

    For code of the user's that was changed under way: what later stages learned from stays what
    that code gives.

    Raises:
        RunError: it comes out otherwise; the message names what differs. Or as in `commit`.
    """
    there = committed(folder)
    assert there is not None, f"{folder} is not committed"
    temporary = folder.with_name(TEMPORARY + folder.name)
    with writing(folder):
        try:
            _remove(temporary)
            temporary.mkdir()
            write(temporary)
            now = _describe(temporary, stage, inputs)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    if now.files != there.files:
        raise RunError(
            f"{folder}: does not come out as it was: code that it was made by has been changed, "
            "and what came after it may rest on it: restore that code, use another --out, or "
            "delete this folder with the later ones (of the evaluate stage: the evaluate folder "
            "of every generation), and the same command makes them anew\n  "
            + "\n  ".join(differences(there.inputs, now.inputs))
        )
    write_atomically(folder / MANIFEST, now.to_bytes())
    return now


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or, after a kill or on a full disk, as it was before.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    temporary = path.with_name(TEMPORARY + path.name)
    with writing(path):
        try:
            _write_synced(temporary, data)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


# --- a stage's files ------------------------------------------------------------------------


def _describe(folder: Path, stage: str, inputs: Mapping[str, Any]) -> Manifest:
    files: dict[str, FileRecord] = {}
    for name in _file_names(folder):
        files[name] = _record(folder / name)
    assert MANIFEST not in files, f"{stage} wrote a {MANIFEST} of its own"
    return Manifest(stage=stage, key=stage_key(inputs), inputs=plain(inputs), files=files)


def _file_names(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": sha256}


def _check_files(folder: Path, manifest: Manifest, verify: bool) -> None:
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, name, "is missing")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise _damaged(folder, name, f"holds {size:,} bytes of {expected['bytes']:,}")
        if verify and _record(path) != expected:
            raise _damaged(folder, name, "has another SHA-256 than when it was written")
    for name in set(_file_names(folder)) - set(manifest.files) - {MANIFEST}:
        if not Path(name).name.startswith("."):  # a file browser's own notes do no harm
            raise RunError(f"{folder / name}: is no file of this stage: move it elsewhere")


def _damaged(folder: Path, name: str, what: str) -> RunError:
    return RunError(
        f"{folder / name}: {what}: delete the folder {folder}; the same command computes it again"
    )


# --- to the disk ----------------------------------------------------------------------------

_REMEDY = {
    errno.ENOSPC: "free some space; the same command resumes",
    errno.EDQUOT: "free some space; the same command resumes",
    errno.ENOTDIR: "a file is in the way; choose another --out",
    errno.EEXIST: "a file is in the way; choose another --out",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals into RunError."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDY.get(error.errno or 0, "allow writing there, or choose another --out")
        raise RunError(f"{path}: cannot be written: {error.strerror or error}: {remedy}") from error
    except TextmadError:
        raise
    except Exception as error:
        if "No space left on device" not in str(error):
            raise
        # safetensors reports a full disk as an exception of its own.
        raise RunError(f"{path}: cannot be written: {error}: {_REMEDY[errno.ENOSPC]}") from error


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Have a file, or a folder's entries, on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_parent(folder: Path) -> None:
    if not folder.parent.is_dir():
        folder.parent.mkdir()
        _sync(folder.parent.parent)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename, after taking the remains of an uncommitted stage out of the way."""
    remains = folder.with_name(f"{TEMPORARY}remains-{folder.name}")
    _remove(remains)
    if folder.exists():
        folder.rename(remains)
    temporary.rename(folder)
    _sync(folder.parent)
    _remove(remains)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
