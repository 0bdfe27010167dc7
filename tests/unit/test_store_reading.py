"""Whoever reads a run meets what was written, or an error that names the file to delete."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import textmad as tm
from textmad.store import Extent, Manifest, RunFolder, file_digest, stage_key


@pytest.fixture
def run(measured_runs, tmp_path: Path) -> tm.Run:
    """Three generations, with provenance and recipe as textmad writes them."""
    recipe = tm.Recipe(generations=2)
    values = {("perplexity", "held_out"): [70.0, 75.0, 80.0]}
    folder = measured_runs.write(tmp_path / "run", recipe, values)
    (folder / "recipe.yaml").unlink()
    (folder / "provenance.json").unlink()
    RunFolder(folder).keep_recipe(recipe)
    RunFolder(folder).keep_session(
        device="cpu",
        processes=1,
        cpu_threads=1,
        overrides={},
        extent=Extent.of(recipe),
        digests={"base": "ab"},
        own_code={},
    )
    return tm.Run(folder)


def everything(path: Path) -> str:
    """All that a report and a comparison read of these runs, as text."""
    run = tm.Run(path)
    texts = [run.candidates(g)["text"][:] for g in run.generations]
    return repr([run.recipe.dump(), run.provenance, run.metrics.to_csv(), texts, run.human[:]])


READ = (
    *("recipe.yaml", "provenance.json", "corpus/human.parquet", "corpus/manifest.json"),
    *("gen-01/evaluate/metrics.parquet", "gen-01/evaluate/manifest.json"),
    *("gen-02/curate/candidates.parquet", "gen-00/model/manifest.json"),
)


@pytest.mark.parametrize("name", READ)
def test_a_flipped_bit_is_an_error_that_names_the_file_or_changes_nothing(run: tm.Run, name: str):
    path, rng = run.path / name, random.Random(name)
    whole, expected = path.read_bytes(), everything(run.path)
    caught = 0
    for _ in range(25):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            read = everything(run.path)
        except tm.TextmadError as error:
            read, caught = str(error), caught + 1
        # A manifest may then name a file beside it; to be deleted is the same folder.
        assert read == expected or (name.rpartition("/")[0] or name) in read
    assert caught > 20


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2]])
def test_a_file_that_was_cut_off_is_an_error_that_names_it(
    run: tm.Run, name: str, damage: Callable[[bytes], bytes]
):
    path = run.path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(tm.TextmadError, match=name):
        everything(run.path)


def test_a_generation_that_was_copied_from_another_is_an_error(run: tm.Run):
    shutil.rmtree(run.path / "gen-02")
    shutil.copytree(run.path / "gen-01", run.path / "gen-02")
    message = r"gen-02/mix/manifest\.json: is that of gen-01/mix, copied or renamed: delete the"
    with pytest.raises(tm.RunError, match=message):
        tm.Run(run.path).metrics  # noqa: B018


def test_a_stage_without_its_manifest_is_damaged_and_not_unfinished(run: tm.Run):
    (run.path / "gen-02" / "evaluate" / "manifest.json").unlink()
    with pytest.raises(tm.RunError, match=r"gen-02/evaluate/manifest\.json: is missing: delete"):
        tm.Run(run.path).generations  # noqa: B018


def test_what_arrow_cannot_read_names_the_folder_to_delete(run: tm.Run):
    """Bytes that were committed as they are: no checksum tells."""
    folder = run.path / "gen-01" / "evaluate"
    (folder / "metrics.parquet").write_bytes(b"PAR1 and nothing else")
    manifest = json.loads((folder / "manifest.json").read_text())
    path = folder / "metrics.parquet"
    manifest["files"] = {
        "metrics.parquet": {"bytes": path.stat().st_size, "sha256": file_digest(path)}
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(tm.RunError, match=r"metrics\.parquet: cannot be read .*delete the folder"):
        tm.Run(run.path).metrics  # noqa: B018


@pytest.mark.parametrize(
    "name", ["../../../x", "/etc/passwd", "inner/../../x", "a//b", "", ".", "a\0b", "..\\x"]
)
def test_a_manifest_whose_files_are_outside_of_its_folder_is_an_error(name: str):
    record = {"bytes": 1, "sha256": "0" * 64}
    assert Manifest.from_bytes(Manifest("mix", stage_key({}), {}, {"a/b": record}).to_bytes())
    data = Manifest("mix", stage_key({}), {}, {name: record}).to_bytes()
    with pytest.raises(ValueError, match="wrong"):
        Manifest.from_bytes(data)


def test_a_record_changed_by_hand_is_an_error_and_one_without_a_checksum_is_read(run: tm.Run):
    path = run.path / "recipe.yaml"
    text = path.read_text()
    path.write_text(text.replace("seed: 0", "seed: 1"))
    with pytest.raises(tm.RunError, match=r"recipe\.yaml: .*checksum"):
        tm.Run(run.path).recipe  # noqa: B018
    path.write_text(text.partition("\n")[2])  # as an older textmad wrote it
    assert tm.Run(run.path).recipe == tm.Recipe(generations=2)


@pytest.mark.parametrize("text", ["[]", "{}", "7", '{"sessions": []}', "[" * 100_000])
def test_a_provenance_of_another_form_is_an_error_by_who_goes_on(run: tm.Run, text: str):
    (run.path / "provenance.json").write_text(text)
    with pytest.raises(tm.RunError, match=r"provenance\.json: "):
        RunFolder(run.path).keep_session(
            device="cpu",
            processes=1,
            cpu_threads=1,
            overrides={},
            extent=Extent.of(run.recipe),
            digests={"base": "ab"},
            own_code={},
        )
