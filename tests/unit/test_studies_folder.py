"""A study's folder and its file: what stands there is not lost, and what is another is named."""

from pathlib import Path

import pytest

import textmad as tm
from textmad.analysis.arms import gather_arms
from textmad.studies import emit_slurm, load_study, runner
from textmad.studies.engines import slurm
from textmad.studies.folder import read_record, write_record

FILE = """\
# why these arms
recipe: {mix: {model_tokens: 600}, sample: {min_tokens: 500}}
seeds: [0]
"""


@pytest.mark.parametrize("begin", [tm.study, emit_slurm])
def test_a_study_file_in_the_folder_is_not_written_over(begin, tmp_path: Path, monkeypatch):
    for module in (runner, slurm):
        monkeypatch.setattr(module, "threads_each", lambda jobs: 1)  # torch would be asked
    path = tmp_path / "study.yaml"
    path.write_text(FILE)
    with pytest.raises(tm.RunError, match="is no study's record") as caught:
        begin(load_study(path), tmp_path)
    assert str(caught.value).endswith("choose another --out than the study file's own folder")
    assert path.read_text() == FILE
    assert list(tmp_path.iterdir()) == [path]
    run = tmp_path / "runs/base/seed-0"  # beside runs too
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(load_study(path).arms[0].recipe.to_yaml())
    with pytest.raises(tm.RunError, match="is no study's record"):
        begin(load_study(path), tmp_path)


def test_a_recipe_a_study_and_a_record_are_told_from_each_other(tmp_path: Path):
    study, recipe, record = (tmp_path / name for name in ("s.yaml", "r.yaml", "study.yaml"))
    study.write_text(FILE)
    recipe.write_text("generations: 2\nsede: 1\n")
    with pytest.raises(tm.RecipeError, match=r"s.yaml: is a study, and no recipe: `textmad study`"):
        tm.load_recipe(study)
    with pytest.raises(tm.RecipeError, match=r"r.yaml: is a recipe, and no study: `textmad run`"):
        tm.load_study(recipe)
    write_record(load_study(study), tmp_path, 1)
    with pytest.raises(tm.RecipeError, match=r"is the record that `textmad study` writes"):
        tm.load_study(record)
    recipe.write_text("sedes: [0]\n")  # neither
    with pytest.raises(tm.RecipeError, match=r"\n  recipe: is missing\n"):
        tm.load_study(recipe)


@pytest.mark.parametrize("damage", ["an edit", "a new checksum"])
def test_a_record_that_was_edited_by_hand_is_noticed_by_whoever_reads_it(
    tmp_path: Path, damage: str
):
    (tmp_path / "s.yaml").write_text(FILE)
    write_record(load_study(tmp_path / "s.yaml"), tmp_path, 1)
    path = tmp_path / "study.yaml"
    assert read_record(path.parent)["cpu_threads"] == 1
    text = path.read_text()
    edited = {
        "an edit": text.replace("cpu_threads: 1", "cpu_threads: 4"),
        "a new checksum": text.replace(text[:40], text[:38] + "00", 1),
    }[damage]
    assert edited != text
    path.write_text(edited)
    for read in (read_record, lambda folder: gather_arms([folder])):
        with pytest.raises(tm.RunError) as caught:
            read(tmp_path)
        assert str(caught.value) == (
            f"{path}: is not what textmad wrote (checksum or keys differ): put the file of a "
            "backup there, or delete the study"
        )
    path.write_text(text.partition("\n")[2])  # as an older textmad wrote it
    assert read_record(path.parent)["cpu_threads"] == 1


def test_a_studys_folder_is_no_run_and_says_where_the_runs_are(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(tm.RunError, match=f"one of the runs of the study in it, {tmp_path}/runs/"):
        tm.Run(tmp_path)
