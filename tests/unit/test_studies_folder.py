"""A study's folder: what stands there already is not lost."""

from pathlib import Path

import pytest

import textmad as tm
from textmad.studies import conduct, emit_slurm, load_study, slurm

FILE = """\
# why these arms
recipe: {mix: {model_tokens: 600}, sample: {min_tokens: 500}}
seeds: [0]
"""


@pytest.mark.parametrize("begin", [tm.study, emit_slurm])
def test_a_study_file_in_the_folder_is_not_written_over(begin, tmp_path: Path, monkeypatch):
    for module in (conduct, slurm):
        monkeypatch.setattr(module, "threads_each", lambda jobs: 1)  # torch would be asked
    path = tmp_path / "study.yaml"
    path.write_text(FILE)
    with pytest.raises(tm.RunError, match="is no study's record") as refused:
        begin(load_study(path), tmp_path)
    assert str(refused.value).endswith("choose another --out than the study file's own folder")
    assert path.read_text() == FILE
    assert list(tmp_path.iterdir()) == [path]
    run = tmp_path / "runs/base/seed-0"  # beside runs too
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(load_study(path).arms[0].recipe.to_yaml())
    with pytest.raises(tm.RunError, match="is no study's record"):
        begin(load_study(path), tmp_path)
