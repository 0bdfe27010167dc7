"""Files that others may have prepared traps for: links, devices, and two writers at once."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from textmad import store
from textmad.errors import RunError
from textmad.recipe import Recipe
from textmad.store import append, begin, commit, files, write_atomically


def test_a_link_under_any_temporary_name_is_not_followed(tmp_path: Path, monkeypatch):
    """Not even one under the very name that the next temporary file gets."""
    victim, target = tmp_path / "victim", tmp_path / "report.html"
    victim.write_text("of somebody else")
    (tmp_path / ".tmp-report.html").symlink_to(victim)  # as names were before
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".tmp-report.html-guessed").symlink_to(victim)
    with pytest.raises(RunError, match=r"report\.html: cannot be written: File exists"):
        write_atomically(target, b"a page")
    assert victim.read_text() == "of somebody else"
    monkeypatch.undo()
    write_atomically(target, b"a page")
    assert (target.read_bytes(), victim.read_text()) == (b"a page", "of somebody else")


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_ordinary_file_is_not_written_over(tmp_path: Path, kind: str):
    place, victim = tmp_path / "report.html", tmp_path / "victim"
    if kind == "link":
        victim.write_text("of somebody else")
    if "link" in kind:
        place.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    before = place.lstat()
    for write in (lambda: write_atomically(place, b"a page"), lambda: append(place, "a line\n")):
        with pytest.raises(RunError, match=r"report\.html: cannot be written: it is a "):
            write()
    assert (place.lstat().st_mode, place.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert not victim.exists() or victim.read_text() == "of somebody else"


def test_the_null_device_is_not_replaced_by_a_file():
    with pytest.raises(RunError, match=r"/dev/null: cannot be written: it is .* a device"):
        write_atomically(Path("/dev/null"), b"a page")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_lock_that_is_a_link_is_an_error_and_its_target_stays(tmp_path: Path):
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("of somebody else")
    run.mkdir()
    (run / ".lock").symlink_to(victim)
    with pytest.raises(RunError, match=r"\.lock: .*symbolic link"), begin(run, Recipe()):
        pass
    (tmp_path / ".sharing").symlink_to(victim)
    claim = store.SharedStages(tmp_path, "a/seed-0").claim(run, "mix", {"seed": 0}, print)
    with pytest.raises(RunError, match=r"\.sharing: .*symbolic link"), claim:
        pass
    assert victim.read_text() == "of somebody else"


WRITER = """
import sys
from pathlib import Path
from textmad.store import write_atomically
for i in range(150):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 5000)
"""


def test_of_two_writers_at_once_the_last_wins_and_none_fails(tmp_path: Path):
    place = tmp_path / "report.html"
    command = [sys.executable, "-c", WRITER, str(place)]
    writers = [subprocess.Popen([*command, letter]) for letter in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert place.read_bytes() in (b"a" * 5000, b"b" * 5000)
    assert os.listdir(tmp_path) == ["report.html"]


def test_every_file_of_a_stage_can_be_read_by_those_who_can_read_the_others(tmp_path: Path):
    def write(folder: Path) -> None:
        save_file({"weight": np.zeros(3, np.float32)}, folder / "model.safetensors")
        (folder / "training.json").write_text("{}")
        (folder / "inner").mkdir()
        save_file({"weight": np.zeros(3, np.float32)}, folder / "inner" / "more.safetensors")

    before = os.umask(0o022)
    try:
        commit(tmp_path / "gen-00" / "model", "gen-00/model", {}, write)
        write_atomically(tmp_path / "report.html", b"a page")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    assert set(modes) == {
        *("model.safetensors", "training.json", "more.safetensors"),
        *("manifest.json", "report.html"),
    }
    assert set(modes.values()) == {0o644}


def test_a_new_run_folder_and_each_line_of_a_log_are_on_the_disk_itself(
    tmp_path: Path, monkeypatch
):
    synced = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with begin(tmp_path / "a" / "b" / "run", Recipe()):
        pass
    assert {str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"} <= set(synced)
    synced.clear()
    append(tmp_path / "stages.jsonl", "a line\n")
    append(tmp_path / "stages.jsonl", "another\n")
    assert synced == [f"{tmp_path}/stages.jsonl", str(tmp_path), f"{tmp_path}/stages.jsonl"]
    assert (tmp_path / "stages.jsonl").read_text() == "a line\nanother\n"


def test_a_digest_is_read_once_and_again_when_the_file_has_changed(tmp_path: Path, monkeypatch):
    path = tmp_path / "metrics.parquet"
    path.write_bytes(b"first")
    long_ago = 1_000_000_000
    os.utime(path, (long_ago, long_ago))
    first = files.digest_once(path)
    reads = []
    real = files.hashlib.file_digest

    def counted(file, name):
        reads.append(name)
        return real(file, name)

    monkeypatch.setattr(files.hashlib, "file_digest", counted)
    assert files.digest_once(path) == first
    assert reads == []
    path.write_bytes(b"other")
    assert files.digest_once(path) != first  # just written: read each time
    assert files.digest_once(path) != first
    assert len(reads) == 2
