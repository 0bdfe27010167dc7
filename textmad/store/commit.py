"""The commit protocol: a stage is in the run folder whole, or not at all.

A stage is written into a temporary folder beside its place, every file is synced, its
`manifest.json` comes last, and one rename puts it in place. A kill at any moment leaves either no
stage or a whole one. Left-over temporary folders are deleted when the run folder is next locked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from textmad.errors import RunError, unreadable
from textmad.store.files import (
    create,
    digest_once,
    new_name,
    read_once,
    reading,
    remove,
    sync,
    write_atomically,
    writing,
)
from textmad.store.manifest import MANIFEST, FileRecord, Manifest, differences, plain, stage_key

Write = Callable[[Path], None]


def commit(folder: Path, stage: str, inputs: Mapping[str, Any], write: Write) -> Manifest:
    """Make the stage `folder` from what `write` puts into a temporary folder; return its manifest.

    Args:
        folder: the stage's place; remains of an uncommitted stage there are replaced.
        stage: its name in messages and in the manifest, as in "gen-00/mix".
        inputs: everything that the result depends on; JSON values. See `stage_key`.
        write: writes the files. If it raises, nothing is committed.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    assert not (folder / MANIFEST).exists(), f"{folder} is committed already"
    return replace(folder, stage, inputs, write)


def replace(folder: Path, stage: str, inputs: Mapping[str, Any], write: Write) -> Manifest:
    """Commit a stage, as `commit` does, in the place of the one that is there."""
    temporary = new_name(folder)
    with writing(folder):
        try:
            _make_parent(folder)
            temporary.mkdir()
            write(temporary)
            manifest = describe(temporary, stage, inputs)
            create(temporary / MANIFEST, manifest.to_bytes())
            _share(temporary, manifest)
            for name in manifest.files:
                sync(temporary / name)
            for subfolder, _, _ in os.walk(temporary):
                sync(Path(subfolder))
            _put_in_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def discard(folder: Path) -> None:
    """Delete a stage so that a kill at any moment leaves it whole, or not there.

    Raises:
        RunError: it cannot be deleted.
    """
    with writing(folder):
        if folder.exists():
            remains = new_name(folder)
            folder.rename(remains)
            sync(folder.parent)
            remove(remains)


def committed(
    folder: Path, stage: str, inputs: Mapping[str, Any] | None = None, *, verify: bool = False
) -> Manifest | None:
    """Return the manifest of the stage `folder`, or None where no stage is committed.

    The stage's name, and names and sizes of its files, are always checked; their SHA-256 is
    checked with `verify`.

    Raises:
        RunError: the stage is damaged, is another one than `stage`, or was made from other
            `inputs` than those given. The message names the file, or the inputs that differ.
    """
    try:
        manifest = read_once(folder / MANIFEST, _read_manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(folder / MANIFEST, error) from error
    except ValueError:
        raise damaged(folder, MANIFEST, "is not what was written") from None
    if manifest.stage != stage:
        raise damaged(folder, MANIFEST, f"is that of {manifest.stage}, copied or renamed")
    with reading(folder):
        _check_names_and_sizes(folder, manifest)
    if verify:
        for name in manifest.files:
            check_content(folder, manifest, name)
    if inputs is not None and manifest.key != stage_key(inputs):
        differing = "\n  ".join(differences(manifest.inputs, inputs))
        raise RunError(
            f"{folder}: was made from other inputs than this command has; a run continues with "
            f"what it began with: restore that, use another --out, or delete the run\n  {differing}"
        )
    return manifest


def check_content(folder: Path, manifest: Manifest, name: str) -> None:
    """Check the SHA-256 of one file of a committed stage.

    Raises:
        RunError: it is not the one in the manifest, or the file cannot be read.
    """
    try:
        digest = digest_once(folder / name)
    except OSError as error:
        raise unreadable(folder / name, error) from error
    if digest != manifest.files[name]["sha256"]:
        raise damaged(folder, name, "has another SHA-256 than when it was written")


def confirm(folder: Path, stage: str, inputs: Mapping[str, Any], write: Write) -> Manifest:
    """Write a committed stage again, and record that it comes out the same from `inputs`.

    For user code that was changed while the run was interrupted: later stages learned from its
    results, so these have to stay what the code gives.

    Raises:
        RunError: it comes out otherwise; the message names what differs. Or as in `commit`.
    """
    before = committed(folder, stage)
    assert before is not None, f"{folder} is not committed"
    temporary = new_name(folder)
    with writing(folder):
        try:
            temporary.mkdir()
            write(temporary)
            now = describe(temporary, stage, inputs)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    if now.files != before.files:
        raise RunError(
            f"{folder}: does not come out as it was: code that it was made by has been changed, "
            "and what came after it may rest on it: restore that code, use another --out, or "
            "delete this folder with the later ones (of the evaluate stage: the evaluate folder "
            "of every generation), and the same command makes them anew\n  "
            + "\n  ".join(differences(before.inputs, now.inputs))
        )
    write_atomically(folder / MANIFEST, now.to_bytes())
    return now


def damaged(folder: Path, name: str, what: str) -> RunError:
    """Make the error about a damaged file of the stage `folder`."""
    return RunError(
        f"{folder / name}: {what}: delete the folder {folder}; the command that made the run "
        "computes it again"
    )


def _read_manifest(file: BufferedReader) -> Manifest:
    return Manifest.from_bytes(file.read())


# --- a stage's files ------------------------------------------------------------------------


def describe(folder: Path, stage: str, inputs: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a stage whose files are all in `folder`."""
    files: dict[str, FileRecord] = {}
    for name in _file_names(folder):
        path = folder / name
        files[name] = {"bytes": path.stat().st_size, "sha256": digest_once(path)}
    assert MANIFEST not in files, f"{stage} wrote a {MANIFEST} of its own"
    return Manifest(stage=stage, key=stage_key(inputs), inputs=plain(inputs), files=files)


def _file_names(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _check_names_and_sizes(folder: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise damaged(folder, name, "is missing")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise damaged(folder, name, f"holds {size:,} bytes of {expected['bytes']:,}")
    for name in set(_file_names(folder)) - set(manifest.files) - {MANIFEST}:
        if not Path(name).name.startswith("."):  # a file browser's own notes do no harm
            raise RunError(f"{folder / name}: is no file of this stage: move it elsewhere")


def _share(folder: Path, manifest: Manifest) -> None:
    """Give every file the mode of a new file: safetensors makes its own readable by nobody else."""
    mode = (folder / MANIFEST).stat().st_mode & 0o777
    for name in manifest.files:
        path = folder / name
        if path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)


def _make_parent(folder: Path) -> None:
    places = [folder.parent]
    if folder.parent.name.startswith("member-"):  # in a generation, which may be new too
        places.insert(0, folder.parent.parent)
    for place in places:
        if not place.is_dir():
            place.mkdir()
            sync(place.parent)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename, after moving what is at the place out of the way."""
    remains = new_name(folder)
    if folder.exists():
        folder.rename(remains)
    temporary.rename(folder)
    sync(folder.parent)
    remove(remains)
