"""Stages taken over from another run: only whole ones of the same key, and never computed twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from textmad import store
from textmad.store import SharedStages

INPUTS = {"seed": 0, "code": "c0de"}
STAGE = "gen-00/model"


def write(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(range(200)))
    (folder / "inner").mkdir()
    (folder / "inner" / "config.json").write_text("{}")


def come_by(study: Path, run: str, inputs: dict[str, object] = INPUTS, accept=lambda _: None):
    """Claim the stage for a run, and compute it where it is not taken over."""
    folder = study / "runs" / run / STAGE
    folder.parents[1].mkdir(parents=True, exist_ok=True)
    with SharedStages(study, run).claim(folder, STAGE, inputs, accept) as taken_over:
        if not taken_over:
            store.commit(folder, STAGE, inputs, write)
    return taken_over


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_the_second_run_takes_over_what_the_first_computed(tmp_path: Path):
    assert come_by(tmp_path, "a/seed-0") is False
    assert come_by(tmp_path, "b/seed-0") is True
    first, second = (tmp_path / "runs" / run / STAGE for run in ("a/seed-0", "b/seed-0"))
    assert files(first) == files(second)
    assert store.committed(second, STAGE, INPUTS, verify=True) is not None
    inodes = {(folder / "inner/config.json").stat().st_ino for folder in (first, second)}
    assert len(inodes) == 1
    records = [(r.run, r.stage, r.source) for r in store.stage_records(tmp_path)]
    assert records == [("a/seed-0", STAGE, None), ("b/seed-0", STAGE, "a/seed-0")]


def test_files_are_copied_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(store.cache.os, "link", refuse)
    come_by(tmp_path, "a/seed-0")
    assert come_by(tmp_path, "b/seed-0") is True
    first, second = (tmp_path / "runs" / run / STAGE for run in ("a/seed-0", "b/seed-0"))
    assert files(first) == files(second)


def test_a_stage_of_other_inputs_or_a_damaged_one_is_not_taken_over(tmp_path: Path):
    come_by(tmp_path, "a/seed-0")
    assert come_by(tmp_path, "b/seed-0", {**INPUTS, "seed": 1}) is False
    weights = tmp_path / "runs/a/seed-0" / STAGE / "weights.bin"
    weights.write_bytes(bytes(reversed(range(200))))
    assert come_by(tmp_path, "c/seed-0") is False
    assert come_by(tmp_path, "d/seed-0") is True  # from c


def test_what_depends_on_no_seed_is_taken_over_from_any_and_what_does_is_sought_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    of_all = {**INPUTS, "seed": None}
    come_by(tmp_path, "a/seed-0", of_all)
    assert come_by(tmp_path, "a/seed-1", of_all) is True

    def looked_at(path: Path) -> bytes:
        raise AssertionError(f"{path} cannot be of seed 2")

    monkeypatch.setattr(Path, "read_bytes", looked_at)
    assert come_by(tmp_path, "a/seed-2", {**INPUTS, "seed": 2}) is False


def test_what_the_taker_objects_to_is_not_committed(tmp_path: Path):
    come_by(tmp_path, "a/seed-0")
    seen = []

    def object_to(folder: Path) -> None:
        seen.append(folder)
        raise ValueError("too small")

    with pytest.raises(ValueError, match="too small"):
        come_by(tmp_path, "b/seed-0", accept=object_to)
    assert seen == [tmp_path / "runs/a/seed-0" / STAGE]
    assert not (tmp_path / "runs/b/seed-0" / STAGE).exists()


def test_who_claims_what_another_process_computes_waits_and_takes_it_over(tmp_path: Path):
    other = """
import sys
from pathlib import Path
from textmad import store
study, inputs = Path(sys.argv[1]), {"seed": 0, "code": "c0de"}
folder = study / "runs/a/seed-0/gen-00/model"
folder.parents[1].mkdir(parents=True)
with store.SharedStages(study, "a/seed-0").claim(folder, "gen-00/model", inputs, print) as taken:
    print("claimed", taken, flush=True)
    sys.stdin.readline()
    store.commit(folder, "gen-00/model", inputs, lambda place: (place / "x").write_text("x"))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", other, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(store.__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed False\n"
    # Another stage is claimed meanwhile without waiting: this would stand still for good.
    assert come_by(tmp_path, "b/seed-0", {**INPUTS, "seed": 1}) is False
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert come_by(tmp_path, "c/seed-0") is True
    assert process.wait(timeout=30) == 0
    assert files(tmp_path / "runs/c/seed-0" / STAGE)["x"] == b"x"


def test_a_record_that_a_kill_cut_off_is_passed_over(tmp_path: Path):
    come_by(tmp_path, "a/seed-0")
    whole = store.stage_records(tmp_path)
    with (tmp_path / "stages.jsonl").open("a") as log:
        log.write(json.dumps(whole[0]._asdict())[:-20])
    assert store.stage_records(tmp_path) == whole
