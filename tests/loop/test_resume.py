"""A run that is there goes on, and does not begin again; kill -9 leaves no trace in the result."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import textmad as tm
from tests.run_contents import contents


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of writing of each file in a stage."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.glob("*/**/*")
        if path.is_file()
    }


@pytest.fixture
def copied(finished_run: tm.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run.path, tmp_path / "run"))


def test_a_finished_run_is_not_computed_again(copied: Path, tiny_recipe: tm.Recipe):
    files, results = identities(copied), contents(copied)
    assert len(files) > 5 * 5
    tm.run(tiny_recipe, copied)
    assert identities(copied) == files
    assert contents(copied) == results
    assert len(tm.Run(copied).provenance["sessions"]) == 2


def test_a_missing_last_stage_alone_is_computed_again_and_to_the_same_bytes(
    copied: Path, tiny_recipe: tm.Recipe
):
    files, results = identities(copied), contents(copied)
    shutil.rmtree(copied / "gen-04" / "evaluate")
    (copied / "metrics.parquet").unlink()
    tm.run(tiny_recipe, copied)
    assert contents(copied) == results
    now = identities(copied)
    changed = {name for name in now if now[name] != files[name]}
    assert changed == {
        f"gen-04/evaluate/{name}"
        for name in ("manifest.json", "metrics.parquet", "held_out_losses.parquet")
    }


def test_another_recipe_is_an_error_with_the_keys_that_differ(copied: Path, tiny_recipe: tm.Recipe):
    results = contents(copied)
    other = tiny_recipe.replace(seed=1, train={"learning_rate": 1e-2})
    with pytest.raises(tm.RecipeError) as caught:
        tm.run(other, copied)
    first, *keys = str(caught.value).splitlines()
    assert first.startswith(f"{copied}: was begun with another recipe")
    assert [key.strip() for key in keys] == [
        "seed: 0 there, 1 now",
        "train.learning_rate: 0.02 there, 0.01 now",
    ]
    assert contents(copied) == results


def test_a_changed_corpus_file_is_an_error(tiny_recipe: tm.Recipe, copied: Path, tmp_path: Path):
    source = Path(tiny_recipe.corpus.source)
    before = source.read_bytes()
    try:
        source.write_bytes(before + before.splitlines()[0].replace(b"text", b"also") + b"\n")
        with pytest.raises(tm.RunError, match=r"corpus: was made from other inputs(.|\n)*source"):
            tm.run(tiny_recipe, copied)
    finally:
        source.write_bytes(before)


# Forks where everything is imported and nothing computed, so that a start costs no seconds. The
# child is killed from outside, at any machine instruction it happens to be at.
NURSERY = """
import json, os, random, signal, sys, time
from pathlib import Path
import textmad as tm
from textmad.loop import recursion
import datasets, peft, pyarrow.parquet, rensa, safetensors.torch, scipy.stats, transformers
import textmad.curation, textmad.evaluators
import textmad.models.causal_lm.model, textmad.models.causal_lm.training
import accelerate.utils, transformers.models.gpt2.modeling_gpt2

recipe, folder, num_kills = tm.load_recipe(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def begin(out):
    child = os.fork()
    if child == 0:
        try:
            tm.run(recipe, out)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child

def end(child):
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    assert os.waitstatus_to_exitcode(status) == 0, "a run failed"
    return "finished"

begun = time.perf_counter()
assert end(begin(folder / "whole")) == "finished"
seconds = time.perf_counter() - begun

rng, kills, stages, number = random.Random(0), 0, [], 0
while kills < num_kills:
    out = folder / f"killed-{number}"
    child = begin(out)
    time.sleep(rng.uniform(0, seconds * 2 / 3))
    os.kill(child, signal.SIGKILL)
    if end(child) == "killed":
        kills += 1
        stages.append(sum(1 for _ in out.glob("*/**/manifest.json")))
    else:
        number += 1
assert end(begin(out)) == "finished"
print(json.dumps(stages))
"""


def test_kill_9_at_five_random_moments_changes_no_byte_of_the_result(
    short_recipe: tm.Recipe, tmp_path: Path, python: Callable[..., str]
):
    recipe = short_recipe.replace(generations=1, curate=[{"random": {"keep": 0.9}}])
    recipe = recipe.replace(sample={"oversample": 1.5})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    (tmp_path / "nursery.py").write_text(NURSERY)
    stages = json.loads(python(tmp_path, "nursery.py", "recipe.yaml", "runs", "5"))
    assert len(stages) == 5
    assert len(set(stages)) > 1, f"all kills came at the same stage: {stages}"
    whole, *others = sorted((tmp_path / "runs").iterdir(), reverse=True)
    expected = contents(whole)
    assert {Path(name).suffix for name in expected} >= {".parquet", ".safetensors"}
    assert others
    for other in others:
        assert contents(other) == expected
