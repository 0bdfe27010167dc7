"""What the disk does not give is neither absent nor damaged, and each reader says why it is not.

The error is a real one: the process may open no more files.
"""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

import textmad as tm
from textmad import store
from textmad.base_models import smollm2
from textmad.cli import show
from textmad.corpus import Tally, tables
from textmad.curation import learned_votes
from textmad.curation.protocol import run_filter
from textmad.errors import CorpusError, RunError, disk_error, temporary_files
from textmad.evaluators.protocol import measure
from textmad.models import base_files
from textmad.models.causal_lm import crossing, encoder, loading, lora
from textmad.models.opening import open_model
from textmad.progress import SilentProgress
from textmad.rating.tools import read_from_tool
from textmad.recipe import Columns, LoraSettings, ModelSettings, SampleSettings
from textmad.store import records
from textmad.text.documents import documents

WHY = "Too many open files"


@contextmanager
def no_file_can_be_opened() -> Iterator[None]:
    lowest = os.open(os.devnull, os.O_RDONLY)  # all below are open
    os.close(lowest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def toy(folder: Path) -> Callable[[], object]:
    base = open_model(ModelSettings(base="categorical", categories=3), SampleSettings())
    base.fit(documents({"text": ["w0 w1"]}), tm.Recipe().train, seed=0).model.save(folder)
    return lambda: base.load(folder)


def stored(folder: Path) -> Callable[[], object]:
    (folder / "recipe.yaml").write_bytes(records.recipe_bytes(tm.Recipe()))
    return lambda: records.read_recipe(folder / "recipe.yaml")


def study(folder: Path) -> Callable[[], object]:
    (folder / "study.yaml").write_bytes(records.sealed_yaml("seeds: [0]\n"))
    return lambda: records.read_sealed_yaml(folder / "study.yaml", "the study")


def adapter(folder: Path) -> Callable[[], object]:
    settings = LoraSettings()
    (folder / lora.CONFIG).write_text("{}")
    return lambda: lora.load(folder, settings)


def crossed(folder: Path) -> Callable[[], object]:
    settings = LoraSettings()
    crossing.mark(folder, settings)
    return lambda: crossing.marked_shape(folder)


def votes(folder: Path) -> Callable[[], object]:
    (folder / learned_votes.FACTS).write_text("{}")
    return lambda: learned_votes.load(folder)


def config(folder: Path) -> Callable[[], object]:
    (folder / "config.json").write_text("{}")
    return lambda: base_files._config(folder, "model.base: x")


def fetched(folder: Path) -> Callable[[], object]:
    (folder / "manifest.json").write_text("{}")
    return lambda: smollm2.fetch(folder, SilentProgress())


def of_a_tool(folder: Path) -> Callable[[], object]:
    path = folder / "votes.json"
    path.write_text("[]")
    return lambda: read_from_tool("argilla", path, [])


READERS = [toy, stored, study, adapter, crossed, votes, config, fetched, of_a_tool]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_file_that_the_disk_does_not_give_is_neither_missing_nor_damaged(tmp_path, reader):
    read = reader(tmp_path)
    with no_file_can_be_opened(), pytest.raises(RunError) as caught:
        read()
    message = str(caught.value)
    assert str(tmp_path) in message
    # safetensors says of every file that it cannot open that it is not there.
    assert (WHY if reader is not toy else "it is there, and cannot be opened") in message
    assert "check the disk" in message
    assert "No such file" not in message


OPENERS = {
    "network": lambda folder: loading.open_network(folder, "float32", "x"),
    "tokenizer": lambda folder: loading._open_tokenizer(folder, "x"),
    "encoder": lambda folder: encoder.open_encoder(str(folder)),
}


@pytest.mark.parametrize("name", OPENERS)
def test_a_base_model_that_the_disk_does_not_give_is_not_to_be_fetched_again(
    tiny_gpt2_folder, name
):
    OPENERS[name](tiny_gpt2_folder)  # which imports what it needs
    with no_file_can_be_opened(), pytest.raises(RunError, match="check the disk"):
        OPENERS[name](tiny_gpt2_folder)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_human_text_that_the_disk_does_not_give_is_not_to_be_got_again(tmp_path, kind):
    source = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": ["one two", "three four"]}), source)
    if kind == "arrow":
        datasets.Dataset.from_parquet(str(source)).save_to_disk(tmp_path / "texts")
        (source,) = (tmp_path / "texts").glob("*.arrow")

    def read() -> int:
        columns = Columns()
        if kind == "parquet":
            return len(list(tables.read_parquet(source, columns, Tally())))
        return sum(batch.num_rows for batch in tables._folder_batches([source], columns))

    assert read() == 2
    with no_file_can_be_opened(), pytest.raises(CorpusError) as caught:
        read()
    assert f"{source}: cannot be read: " in str(caught.value)
    assert WHY in str(caught.value)
    assert str(caught.value).endswith("check the disk, and whether you may read there")


def test_no_other_digest_stands_for_a_source_that_the_disk_does_not_give():
    random = tm.filters.Random()
    assert len(store.source_digest(random)) == 64
    with no_file_can_be_opened(), pytest.raises(RunError, match=f"{WHY}: check the disk"):
        store.source_digest(random)


def test_whether_a_run_is_being_written_is_not_known_where_its_lock_cannot_be_opened(tmp_path):
    assert show._writer(tmp_path) == ""
    (tmp_path / ".lock").write_text("")
    with no_file_can_be_opened():
        assert show._writer(tmp_path) == (
            f"; whether it is being written cannot be seen: {tmp_path}/.lock: {WHY}"
        )


def full(*_: object) -> None:
    with temporary_files():
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_without_room_is_no_fault_of_the_filter_or_evaluator_that_needs_it():
    candidates = documents({"text": ["one two"], "id": ["g3-0"]})
    context = SimpleNamespace(generation=3)
    for where, call in {
        "filter mine, generation 3: ": lambda: run_filter("mine", full, candidates, context),
        "evaluator mine, generation 3: ": lambda: measure("mine", full, context),
    }.items():
        with pytest.raises(RunError, match="No space left on device: make room there") as caught:
            call()
        assert str(caught.value).startswith(f"{where}temporary files: ")


def test_the_command_line_ends_with_73_whatever_the_disk_does_not_give(textmad, tmp_path):
    (tmp_path / "runs").mkdir()
    textmad("show", str(tmp_path))  # which imports what it needs
    with no_file_can_be_opened():
        answer = textmad("show", str(tmp_path))
    assert answer.code == 73
    assert "Too many open files" in answer.err
    assert "check the disk, and what you may do there" in answer.err


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
        (SafetensorError("Error while serializing: I/O error (os error 28)"), errno.ENOSPC),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None),
        (FileNotFoundError("No such file or directory: /no/such/file"), None),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), None),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), None),
        (ValueError("no JSON"), None),
    ],
)
def test_absent_files_and_bad_content_are_no_errors_of_the_disk(error, number):
    reworded = KeyError("what a library makes of it")
    reworded.__context__ = error
    for each in (error, reworded):
        assert getattr(disk_error(each), "errno", None) == number
