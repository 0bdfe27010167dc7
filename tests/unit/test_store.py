"""The run folder: stages whole or absent, one writer, and a reader that says what is missing."""

import errno
import json
import linecache
import os
import platform
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

from textmad import store
from textmad.errors import RecipeError, RunError, RunInUseError
from textmad.loop.run import Run
from textmad.recipe import Recipe, load_recipe, parse_recipe
from textmad.store import RunFolder, begin, commit, committed, stage_key, write_atomically
from textmad.text.documents import documents, write_parquet

INPUTS = {"seed": 0, "code": "c0de", "versions": {"torch": "2.13.0"}}
EVALUATED = {**INPUTS, "evaluate": Recipe().dump()["evaluate"]}


def write_two_files(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(range(200)))
    (folder / "inner").mkdir()
    (folder / "inner" / "b.txt").write_text("a document")


@pytest.fixture
def stage(tmp_path):
    """A committed stage."""
    folder = tmp_path / "gen-00" / "mix"
    commit(folder, "gen-00/mix", INPUTS, write_two_files)
    return folder


def tree(path: Path) -> dict[str, bytes]:
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in files}


def python(code: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


# --- the commit protocol --------------------------------------------------------------------


def test_a_committed_stage_names_its_inputs_and_the_bytes_of_its_files(stage):
    manifest = committed(stage, "gen-00/mix", INPUTS, verify=True)
    assert manifest.stage == "gen-00/mix"
    assert manifest.inputs == INPUTS
    assert manifest.key == stage_key(INPUTS)
    assert {name: record["bytes"] for name, record in manifest.files.items()} == {
        "a.bin": 200,
        "inner/b.txt": 10,
    }
    assert sorted(os.listdir(stage.parent)) == ["mix"]


def test_the_same_stage_written_twice_has_the_same_bytes_and_digest(stage, tmp_path):
    other = tmp_path / "other" / "mix"
    manifest = commit(other, "gen-00/mix", dict(reversed(INPUTS.items())), write_two_files)
    assert tree(other) == tree(stage)
    assert manifest.digest == committed(stage, "gen-00/mix").digest


def test_the_digest_follows_the_content_and_not_the_inputs(stage, tmp_path):
    manifest = committed(stage, "gen-00/mix")
    same = commit(tmp_path / "b" / "mix", "gen-00/mix", {"seed": 1}, write_two_files)
    assert same.key != manifest.key
    assert same.digest == manifest.digest
    other = commit(tmp_path / "c" / "mix", "gen-00/mix", INPUTS, lambda f: None)
    assert other.digest != manifest.digest


def test_a_stage_key_depends_on_every_value_and_not_on_order_or_number_type():
    assert stage_key({"a": 1, "b": [1.5, "x"]}) == stage_key({"b": (1.5, "x"), "a": 1.0})
    keys = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": True}, {"a": None}, {"b": 1}, {"a": [1]}, {}]
    assert len({stage_key(inputs) for inputs in keys}) == len(keys)


def test_a_folder_without_a_manifest_is_no_stage_and_is_made_anew(stage):
    (stage / "manifest.json").unlink()
    (stage / "left_over.txt").write_text("of a copy that was cut off")
    assert committed(stage, "gen-00/mix") is None
    commit(stage, "gen-00/mix", INPUTS, write_two_files)
    assert committed(stage, "gen-00/mix", INPUTS, verify=True) is not None
    assert sorted(tree(stage)) == ["a.bin", "inner/b.txt", "manifest.json"]
    assert committed(stage.parent / "model", "gen-00/model") is None


@pytest.mark.parametrize("stop", [ValueError("a filter failed"), KeyboardInterrupt()])
def test_an_exception_in_the_middle_of_writing_leaves_nothing(tmp_path, stop):
    def write(folder):
        write_two_files(folder)
        raise stop

    with pytest.raises(type(stop)):
        commit(tmp_path / "gen-00" / "mix", "gen-00/mix", INPUTS, write)
    assert tree(tmp_path) == {}
    assert os.listdir(tmp_path / "gen-00") == []


def test_a_flipped_bit_is_found_when_the_bytes_are_verified(stage):
    data = bytearray((stage / "a.bin").read_bytes())
    data[77] ^= 1
    (stage / "a.bin").write_bytes(data)
    assert committed(stage, "gen-00/mix") is not None  # names and sizes are as they were
    with pytest.raises(RunError) as damaged:
        committed(stage, "gen-00/mix", verify=True)
    assert str(damaged.value) == (
        f"{stage}/a.bin: has another SHA-256 than when it was written: delete the folder {stage}; "
        "the command that made the run computes it again"
    )


def test_a_truncated_a_missing_and_a_foreign_file_are_found_at_once(stage):
    os.truncate(stage / "a.bin", 150)
    with pytest.raises(RunError, match=r"a\.bin: holds 150 bytes of 200: delete the folder"):
        committed(stage, "gen-00/mix")
    (stage / "a.bin").unlink()
    with pytest.raises(RunError, match=r"a\.bin: is missing: delete the folder"):
        committed(stage, "gen-00/mix")
    (stage / "a.bin").write_bytes(bytes(range(200)))
    (stage / ".DS_Store").write_text("what file browsers leave")
    assert committed(stage, "gen-00/mix") is not None
    (stage / "extra.json").write_text("{}")
    with pytest.raises(RunError, match=r"extra\.json: is no file of this stage"):
        committed(stage, "gen-00/mix")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:50],
        lambda text: "[]",
        lambda text: text.replace('"seed": 0', '"seed": 1'),
        lambda text: text.replace('"sha256"', '"sha257"', 1),
    ],
)
def test_a_damaged_manifest_is_found_at_once(stage, damage):
    path = stage / "manifest.json"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(RunError, match=r"manifest\.json: is not what was written: delete"):
        committed(stage, "gen-00/mix")


def test_other_inputs_are_errors_by_name(stage):
    now = {"seed": 0, "code": "c0de", "versions": {"torch": "2.14.0"}, "corpus": "ab12"}
    with pytest.raises(RunError) as caught:
        committed(stage, "gen-00/mix", now)
    assert str(caught.value).splitlines()[1:] == [
        "  versions.torch: 2.13.0 there, 2.14.0 now",
        "  corpus: not set there, ab12 now",
    ]


COMMIT_WITHOUT_END = """
import itertools, os, sys
from pathlib import Path
from textmad.store.commit import commit

def write(folder):
    for i in range(5):
        (folder / f"{i}.bin").write_bytes(bytes([i]) * 40_000)

print("ready", flush=True)
for i in itertools.count():
    commit(Path(sys.argv[1]) / f"gen-{i:02d}" / "mix", f"gen-{i:02d}/mix", {"i": i}, write)
"""


def test_kill_9_at_any_moment_leaves_whole_stages_and_nothing_else(tmp_path):
    moments = random.Random(0)
    for attempt in range(6):
        path = tmp_path / str(attempt)
        path.mkdir()
        process = python(COMMIT_WITHOUT_END, path)
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.25))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        (path / "recipe.yaml").write_text(Recipe().to_yaml())
        with begin(path, Recipe()) as folder:  # clears, and verifies every stage
            stages = folder.committed_stages()
        for generation in path.glob("gen-*"):
            inside = list(generation.iterdir())
            assert inside == ([generation / "mix"] if generation / "mix" in stages else [])
        for i, committed_stage in enumerate(stages):
            assert (
                len(committed(committed_stage, f"gen-{i:02d}/mix", {"i": i}, verify=True).files)
                == 5
            )


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_kill_before_any_sync_or_rename_leaves_no_stage_or_a_whole_one(tmp_path, call):
    """A process ends itself at its n-th fsync or rename, for every n until one survives."""
    code = """
import os, sys
from pathlib import Path
from textmad.store.commit import commit
name, left = sys.argv[2], 0
real = getattr(os, name)
def counted(*arguments, **options):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    return real(*arguments, **options)
setattr(os, name, counted)
for number in range(10):
    run = Path(sys.argv[1]) / str(number)
    run.mkdir()
    child = os.fork()
    if child == 0:
        left = number
        commit(run / "gen-00/mix", "gen-00/mix", {}, lambda f: (f / "a").write_text("a"))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, flush=True)
    if code == 0:
        break
"""
    codes = python(code, tmp_path, call).communicate()[0].split()
    assert codes == ["9"] * (len(codes) - 1) + ["0"]
    assert len(codes) >= 2  # at least one kill did happen
    for number in range(len(codes)):
        stage = tmp_path / str(number) / "gen-00" / "mix"
        assert (committed(stage, "gen-00/mix", {}, verify=True) is not None) == stage.exists()
    assert stage.exists()


# --- disks that refuse ----------------------------------------------------------------------


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path):
    def write(folder):
        write_two_files(folder)
        with open("/dev/full", "wb") as full:
            full.write(b"a document")

    stage = tmp_path / "gen-00" / "mix"
    with pytest.raises(RunError) as caught:
        commit(stage, "gen-00/mix", INPUTS, write)
    assert str(caught.value) == (
        f"{stage}: cannot be written: No space left on device: free some space; the same command "
        "resumes"
    )
    assert caught.value.exit_code == 73
    assert os.listdir(stage.parent) == []


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("I/O error: No space left on device (os error 28)", "free some space; the same command"),
        ("I/O error: Disk quota exceeded (os error 122)", "free some space; the same command"),
        ("I/O error: Input/output error (os error 5)", "choose another --out"),
        ("Error while serializing: something new", "choose another --out"),
    ],
)
def test_what_safetensors_reports_is_the_same_error_with_its_remedy(tmp_path, message, remedy):
    def write(folder):
        raise SafetensorError(message)

    with pytest.raises(RunError, match=f"cannot be written: .*{remedy}"):
        commit(tmp_path / "mix", "mix", INPUTS, write)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_a_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "provenance.json"
    write_atomically(path, b"before")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"provenance\.json: cannot be written: No space left"):
        write_atomically(path, b"after")
    assert tree(tmp_path) == {"provenance.json": b"before"}
    with pytest.raises(RunError, match="No space left"), begin(tmp_path / "run", Recipe()):
        pass
    assert set(tree(tmp_path / "run")) <= {".lock"}


def test_a_file_in_the_way_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    message = r"cannot be written: .*a file is in the way; choose another --out"
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=message), begin(out, Recipe()):
            pass
    assert tree(tmp_path) == {"file": b"not a folder"}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder no one can write")
def test_an_unwritable_place_is_an_error_with_a_remedy():
    message = "^/proc/run: cannot be written: .*choose another --out$"
    with pytest.raises(RunError, match=message), begin("/proc/run", Recipe()):
        pass


def test_a_folder_that_holds_something_else_is_an_error_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("words")
    message = r"holds files \(thesis\.tex\) but no recipe\.yaml"
    with pytest.raises(RunError, match=message), begin(tmp_path, Recipe()):
        pass
    assert tree(tmp_path) == {"thesis.tex": b"words"}


# --- one writer -----------------------------------------------------------------------------

HOLD = """
import sys, time
from textmad.recipe import Recipe
from textmad.store import begin
with begin(sys.argv[1], Recipe()):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_an_error_naming_the_process_and_free_after_kill_9(tmp_path):
    process = python(HOLD, tmp_path)
    try:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunInUseError) as caught, begin(tmp_path, Recipe()):
            pass
    finally:
        process.kill()
        process.wait()
    assert str(caught.value) == (
        f"{tmp_path}: is being written by process {process.pid} on {platform.node()}: wait for it "
        "or stop it, or choose another --out"
    )
    assert caught.value.exit_code == 75
    with begin(tmp_path, Recipe()):
        pass


def test_what_a_kill_left_over_goes_when_the_folder_is_locked_and_nothing_else(tmp_path):
    with begin(tmp_path, Recipe()) as folder:
        commit(folder.stage("mix", 0), "gen-00/mix", INPUTS, write_two_files)
    before = tree(tmp_path)
    (tmp_path / "gen-00" / ".tmp-model").mkdir()
    (tmp_path / "gen-00" / ".tmp-model" / "adapter.safetensors").write_bytes(b"half")
    (tmp_path / ".tmp-metrics.parquet").write_bytes(b"half")
    with begin(tmp_path, Recipe()):
        pass
    assert tree(tmp_path) == before


# --- begin and resume -----------------------------------------------------------------------


def test_the_resolved_recipe_is_written_and_the_same_recipe_resumes(tmp_path):
    recipe = Recipe().replace(generations=2, curate=["random"])
    with begin(tmp_path, recipe):
        pass
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    written = (tmp_path / "recipe.yaml").read_bytes()
    with begin(tmp_path, recipe):
        pass
    assert (tmp_path / "recipe.yaml").read_bytes() == written


def test_another_recipe_is_an_error_naming_every_key_that_differs(tmp_path):
    with begin(tmp_path, Recipe()):
        pass
    other = parse_recipe(
        {"generations": 7, "train": {"learning_rate": 0.5}, "model": {"lora": None}}, "test"
    )
    with pytest.raises(RecipeError) as caught, begin(tmp_path, other):
        pass
    first, *lines = str(caught.value).splitlines()
    assert first == (
        f"{tmp_path}: was begun with another recipe: use another --out, or delete the run"
    )
    lora = '{"rank": 16, "alpha": 32, "dropout": 0, "targets": ["auto"]}'
    assert [line.strip() for line in lines] == [
        f"model.lora: {lora} there, null now",
        "train.learning_rate: 0.001 there, 0.5 now",
    ]
    assert load_recipe(tmp_path / "recipe.yaml") == Recipe()


def test_resuming_verifies_the_bytes_of_every_stage(tmp_path):
    with begin(tmp_path, Recipe()) as folder:
        stage = folder.stage("model", 3)
        commit(stage, "gen-03/model", INPUTS, write_two_files)
    (stage / "inner" / "b.txt").write_text("a dokument")  # as many bytes
    message = r"gen-03/model/inner/b\.txt: has another SHA-256"
    with pytest.raises(RunError, match=message), begin(tmp_path, Recipe()):
        pass


SESSION = {
    "device": "cpu",
    "processes": 1,
    "cpu_threads": 2,
    "own_code": {},
    "extent": store.Extent.of(Recipe()),
}


def test_provenance_records_every_start_and_what_the_run_was_made_with(tmp_path):
    with begin(tmp_path, Recipe()) as folder:
        folder.keep_session(**SESSION, overrides={"generations": 3}, digests={"base": "ab"})
    with begin(tmp_path, Recipe()) as folder:
        folder.keep_session(**SESSION, overrides={}, digests={"base": "ab"})
    provenance = Run(tmp_path).provenance
    assert provenance["code"] == store.code_version()
    assert provenance["digests"] == {"base": "ab"}
    assert [start["overrides"] for start in provenance["sessions"]] == [{"generations": 3}, {}]
    assert provenance["sessions"][0]["device"] == "cpu"


def test_other_versions_are_errors_by_name_and_do_not_enter_the_provenance(tmp_path, monkeypatch):
    with begin(tmp_path, Recipe()) as folder:
        folder.keep_session(**SESSION, overrides={}, digests={"base": "ab"})
        before = tree(tmp_path)
        other = {**store.versions(), "torch": "9.9"}
        monkeypatch.setattr("textmad.store.folder.versions", lambda: other)
        with pytest.raises(RunError) as caught:
            folder.keep_session(**SESSION, overrides={}, digests={"base": "cd"})
        assert tree(tmp_path) == before
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        f"versions.torch: {metadata.version('torch')} there, 9.9 now",
        "digests.base: ab there, cd now",
    ]


# --- versions and sources -------------------------------------------------------------------


def test_versions_are_read_without_importing_the_libraries():
    code = (
        "import sys\n"
        "from textmad.store import versions, code_version\n"
        "assert len(code_version()) == 64\n"
        "print(versions()['torch'], [m for m in ('torch', 'datasets', 'pandas') "
        "if m in sys.modules])"
    )
    answer, _ = python(code).communicate()
    assert answer == f"{metadata.version('torch')} []\n"


@pytest.mark.parametrize(
    ("module", "matters"),
    [("models/extra.py", True), ("report/extra.py", False), ("statistics/extra.py", False)],
)
def test_the_code_version_follows_the_modules_that_results_depend_on(
    tmp_path, monkeypatch, module, matters
):
    monkeypatch.setattr("textmad.store.provenance.PACKAGE", tmp_path)
    (tmp_path / "seeds.py").write_text("SEED = 0\n")
    before = store.code_version.__wrapped__()
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).write_text("CHANGED = True\n")
    assert (store.code_version.__wrapped__() != before) == matters


@dataclass(frozen=True)
class KeepAll:
    threshold: float = 0.5

    def __call__(self, candidates, context):
        return None


def test_a_component_is_known_by_the_file_that_defines_it():
    expected = store.file_digest(Path(__file__))
    assert store.source_digest(KeepAll(0.7)) == expected
    assert store.source_digest(KeepAll) == expected
    assert store.source_digest(write_two_files) == expected


def typed_in(source: str, cell: str) -> type:
    """A class as a notebook's cell makes it: in no file, its source known to linecache."""
    scope = {"__name__": "typed_at_a_prompt"}
    exec(compile(source, cell, "exec"), scope)
    return scope["Typed"]


def test_a_component_of_a_notebook_is_known_by_its_functions():
    digests = []
    for cell, limit in (("<cell 1>", 3), ("<cell 2>", 3), ("<cell 3>", 4)):
        source = f"class Typed:\n    def __call__(self, c, x):\n        return len(c) > {limit}\n"
        linecache.cache[cell] = (len(source), None, source.splitlines(True), cell)
        digests.append(store.source_digest(typed_in(source, cell)()))
    assert digests[0] == digests[1] != digests[2]


def test_a_component_without_source_is_an_error():
    typed = typed_in("class Typed:\n    def __call__(self, c, x): return None\n", "<stdin>")
    with pytest.raises(RecipeError, match="typed_at_a_prompt:Typed: its source cannot be read"):
        store.source_digest(typed())


# --- the reader -----------------------------------------------------------------------------


def metrics_table(generation: int) -> pa.Table:
    row = {
        "generation": generation,
        "evaluator": "perplexity",
        "metric": "perplexity",
        "split": "held_out",
        "bin": "",
        "value": 70.0 + generation,
        "n": 1000,
        "note": "",
    }
    return pa.Table.from_pylist([row], schema=store.METRICS_SCHEMA)


def test_metrics_of_an_older_run_have_no_intervals():
    from textmad.loop.run import _with_intervals

    older = metrics_table(0).drop_columns(["low", "high"])
    table = _with_intervals(older)
    assert table.schema == store.METRICS_SCHEMA
    assert table.drop_columns(["low", "high"]) == older
    assert np.isnan(table["low"].to_numpy()).all()
    assert np.isnan(table["high"].to_numpy()).all()


def write_stage(stage: str, generation: int):
    """What the recursion writes, in small."""
    texts = documents({"text": ["one two", "three"], "tokens": [2, 1]})
    files = {
        "corpus": lambda f: (
            write_parquet(texts, f / "human.parquet"),
            write_parquet(texts.select([1]), f / "held_out.parquet"),
            (f / "corpus.json").write_text('{"documents": 3}'),
        ),
        "mix": lambda f: (
            write_parquet(texts, f / "training.parquet"),
            (f / "mix.json").write_text('{"human_tokens": 3}'),
        ),
        "model": lambda f: (f / "training.json").write_text(
            json.dumps({"curve": [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.5}]})
        ),
        "sample": lambda f: write_parquet(texts, f / "candidates.parquet"),
        "curate": lambda f: write_parquet(
            texts.add_column("kept", [False, True]), f / "candidates.parquet"
        ),
        "evaluate": lambda f: pq.write_table(metrics_table(generation), f / "metrics.parquet"),
    }
    return files[stage]


@pytest.fixture
def unfinished(tmp_path):
    """A run of three generations, of which 0 and 1 are done and 2 is sampled."""
    with begin(tmp_path, Recipe().replace(generations=2)) as folder:
        commit(folder.stage("corpus"), "corpus", INPUTS, write_stage("corpus", 0))
        for generation, num_stages in ((0, 5), (1, 5), (2, 3)):
            for stage in ("mix", "model", "sample", "curate", "evaluate")[:num_stages]:
                name = folder.name(stage, generation)
                commit(folder.path / name, name, EVALUATED, write_stage(stage, generation))
    return Run(tmp_path)


def test_a_run_reads_what_its_stages_committed(unfinished):
    run = unfinished
    assert run.recipe.generations == 2
    assert run.human["text"][:] == ["one two", "three"]
    assert run.held_out["text"][:] == ["three"]
    assert run.corpus_report == {"documents": 3}
    assert run.training(0)["tokens"][:] == [2, 1]
    assert run.mixture(1) == {"human_tokens": 3}
    assert list(run.curve(1)["loss"]) == [4.0, 3.5]
    assert run.candidates(1)["kept"][:] == [False, True]
    assert run.kept(1)["text"][:] == ["three"]
    assert run.model_folder(2) == run.path / "gen-02" / "model"


def test_the_metrics_of_complete_generations_are_one_table_in_order(unfinished):
    metrics = unfinished.metrics
    assert list(metrics.columns) == store.METRICS_SCHEMA.names
    assert list(metrics["generation"]) == [0, 1]
    assert list(metrics["value"]) == [70.0, 71.0]


def test_a_run_is_complete_when_every_stage_of_every_generation_is_there(unfinished):
    assert unfinished.generations == [0, 1]
    assert not unfinished.complete
    for stage in ("curate", "evaluate"):
        folder = RunFolder(unfinished.path).stage(stage, 2)
        commit(folder, f"gen-02/{stage}", EVALUATED, write_stage(stage, 2))
    assert unfinished.generations == [0, 1, 2]
    assert unfinished.complete


def test_a_generation_that_is_not_there_is_named_with_those_that_are(unfinished):
    with pytest.raises(RunError) as caught:
        unfinished.candidates(2)
    assert str(caught.value) == (
        f"{unfinished.path}: gen-02/curate is not there; complete generations: 0, 1, of 0 to 2 in "
        "the recipe; the command that began the run resumes it"
    )


def test_a_crawl_is_asked_for_in_vain_where_nothing_is_crawled(unfinished):
    with pytest.raises(RunError) as caught:
        unfinished.crawl(1)
    assert str(caught.value) == (
        f"{unfinished.path}: generation 1 has no crawl: expected a recipe with the group crawl, "
        "and a generation from 1 on"
    )


def test_a_folder_that_is_no_run_is_an_error_by_the_reader(tmp_path):
    with pytest.raises(RunError, match=r"is no run folder, it holds no recipe\.yaml"):
        Run(tmp_path)


def test_metrics_at_the_top_are_the_same_bytes_each_time(unfinished):
    folder = RunFolder(unfinished.path)
    folder.keep_metrics(unfinished.metrics_table)
    written = (folder.path / "metrics.parquet").read_bytes()
    folder.keep_metrics(unfinished.metrics_table)
    assert (folder.path / "metrics.parquet").read_bytes() == written
    assert pq.read_table(folder.path / "metrics.parquet").equals(unfinished.metrics_table)
