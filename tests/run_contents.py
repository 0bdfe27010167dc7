"""The bytes of a run, and whether a run that lost stages comes to them again."""

import shutil
from pathlib import Path

import textmad as tm

SESSIONS = {".lock", "provenance.json"}  # records of the sessions, not of the result


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file that results are read from, by its path in the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in SESSIONS
    }


def check_resumed(run: tm.Run, folder: Path, *lost: str) -> None:
    """Copy a run to `folder` without some of its stages or generations, resume, compare all bytes.

    Raises:
        AssertionError: a file is missing, new or different; the message names it.
    """
    expected = contents(run.path)
    shutil.copytree(run.path, folder)
    for name in lost:
        shutil.rmtree(folder / name)
    (folder / "metrics.parquet").unlink()
    tm.run(run.recipe, folder)
    found = contents(folder)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
