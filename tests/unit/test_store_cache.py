"""A cache gives back whole results of the same inputs alone, whatever happens to who writes it."""

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from textmad import store
from textmad.errors import RunError
from textmad.store import Cache, CachedStages, open_cache

INPUTS = {"seed": None, "generation": None, "code": "c0de"}


def writer(text: str = "result") -> Callable[[Path], None]:
    return lambda folder: (folder / "result.txt").write_text(text) and None


def keep(cache: Cache, text: str = "result", inputs: dict[str, object] = INPUTS) -> None:
    with cache.alone(inputs):
        cache.keep("reference", inputs, writer(text))


def read(cache: Cache, inputs: dict[str, object] = INPUTS) -> str | None:
    folder = cache.find("reference", inputs)
    return None if folder is None else (folder / "result.txt").read_text()


def in_another_process(work: Callable[[], None]) -> int:
    """Begin `work` in a process of its own; return its id."""
    if child := os.fork():
        return child
    try:
        work()
    finally:
        os._exit(0)


def test_a_result_is_found_by_the_same_inputs_and_by_no_others(tmp_path: Path):
    cache = Cache(tmp_path / "cache")
    assert read(cache) is None
    keep(cache)
    assert read(Cache(tmp_path / "cache")) == "result"
    assert read(cache, {**INPUTS, "code": "other"}) is None
    assert cache.find("corpus", INPUTS) is None


def test_an_intact_result_stays_and_a_damaged_one_is_missing_and_made_again(tmp_path: Path):
    cache = Cache(tmp_path)
    keep(cache)
    keep(cache, "another")
    assert read(cache) == "result"
    path = tmp_path / store.stage_key(INPUTS) / "result.txt"
    path.write_text("reSult")  # as long as it was
    assert read(cache) is None
    keep(cache, "again")
    assert read(cache) == "again"
    (path.parent / "manifest.json").write_text("{")
    assert read(cache) is None
    keep(cache, "third")
    assert read(cache) == "third"


def test_a_writer_that_is_killed_leaves_nothing_that_is_read(tmp_path: Path):
    cache = Cache(tmp_path)

    def die(folder: Path) -> None:
        (folder / "result.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    def begin() -> None:
        with cache.alone(INPUTS):
            cache.keep("reference", INPUTS, die)

    _, status = os.waitpid(in_another_process(begin), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (left_over,) = tmp_path.glob(".tmp-*")
    assert read(cache) is None
    keep(cache)  # which the dead process's lock does not hinder
    assert read(cache) == "result"
    cache.clear()
    assert left_over.exists()  # some process may be writing it
    os.utime(left_over, (0, 0))
    cache.clear()
    assert not left_over.exists()


def test_who_reads_while_others_write_sees_the_whole_result_or_none(tmp_path: Path):
    cache, size = Cache(tmp_path), 100_000
    keep(cache, "x" * size)
    damaged = tmp_path / store.stage_key(INPUTS) / "result.txt"
    damaged.write_text("y" * size)
    children = [in_another_process(lambda: keep(cache, "x" * size)) for _ in range(4)]
    try:
        for _ in range(50):
            assert read(cache) in (None, "x" * size)
    finally:
        statuses = [os.waitpid(child, 0)[1] for child in children]
    assert statuses == [0] * 4
    assert read(cache) == "x" * size
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str, dict[str, object]], bool]:
    """`run(name, inputs)`: claim the corpus of a run, and commit it where it is not reused."""

    def claim(name: str, inputs: dict[str, object] = INPUTS, threads: int = 1) -> bool:
        folder = tmp_path / name / "corpus"
        folder.parent.mkdir()
        shared = CachedStages(Cache(tmp_path / "cache"), {"cpu_threads": threads})
        with shared.claim(folder, "corpus", inputs, lambda _: None) as is_reused:
            if not is_reused:
                store.commit(folder, "corpus", inputs, writer())
        return is_reused

    return claim


def test_separate_runs_share_a_stage_and_need_the_cache_no_longer(run, tmp_path: Path):
    assert [run("a"), run("b")] == [False, True]
    shutil.rmtree(tmp_path / "cache")
    for name in ("a", "b"):
        folder = tmp_path / name / "corpus"
        manifest = store.committed(folder, "corpus", INPUTS, verify=True)
        assert manifest is not None
        assert manifest.inputs == INPUTS
    assert run("c") is False  # and makes the cache again
    assert run("d") is True


def test_a_stage_of_a_generation_or_of_other_threads_is_not_shared(run):
    assert [run("a"), run("b", threads=2), run("c", threads=2)] == [False, False, True]
    of_generation = {**INPUTS, "generation": 0}
    assert [run("d", of_generation), run("e", of_generation)] == [False, False]


def test_a_place_that_is_no_cache_is_refused(tmp_path: Path):
    out, place = tmp_path / "run", tmp_path / "place"

    def refused(path: Path) -> str:
        with pytest.raises(RunError) as error:
            open_cache(path, out)
        return str(error.value)

    for path in (out, out / "cache", tmp_path):
        expected = f"--cache {path}: lies in --out {out}, or that in it: expected two places"
        assert refused(path) == expected
    place.write_text("")
    assert refused(place) == (
        f"--cache {place}: is no folder: expected a cache of other runs, or a new place"
    )
    assert refused(place / "below") == (
        f"--cache {place}/below: cannot be made: Not a directory: allow writing there, or choose "
        "another place"
    )
    place.unlink()
    keep(open_cache(place, out))
    keep(open_cache(place, out))
    (place / "recipe.yaml").write_text("")
    assert refused(place) == (
        f"--cache {place}: holds recipe.yaml, which is no cache's: expected a cache of other runs, "
        "or a new or empty folder"
    )
    assert re.fullmatch(r"[0-9a-f]{64}", next(place.glob("[0-9a-f]*")).name)
