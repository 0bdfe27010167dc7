"""Checkpoints of unfinished stages: a lost job goes on from the latest, to the same bytes."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import textmad as tm
from tests.random_words import write_words
from tests.run_contents import contents
from textmad.loop import sampling
from textmad.models.causal_lm.training import Learner
from textmad.store import Checkpoints
from textmad.text.documents import read_parquet

ALWAYS = 1e-9  # minutes: a checkpoint is due whenever one can be kept


class Lost(BaseException):
    """The job is lost: nothing handles this."""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 documents of 20 words from a hundred."""
    return write_words(tmp_path_factory.mktemp("corpus") / "words.jsonl")


@pytest.fixture(scope="module")
def recipe(words: Path) -> tm.Recipe:
    """One generation of 2,000 tokens, at once."""
    return tm.Recipe(
        generations=0,
        corpus={"source": str(words), "held_out": 0.2},
        model={"base": "categorical", "categories": 100, "smoothing": 0.5},
        mix={"model_tokens": 2_000},
        sample={"min_tokens": 2_000},
        evaluate=["perplexity"],
        checkpoint_minutes=ALWAYS,
    )


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[[tm.Recipe, Path, int], None]:
    """`lose(recipe, out, num)`: run until `num` checkpoints have been kept, and lose the job."""

    def run(recipe: tm.Recipe, out: Path, num: int) -> None:
        kept, keep = [], Checkpoints.keep

        def lost(self: Checkpoints, write: Callable[[Path], None]) -> None:
            keep(self, write)
            kept.append(self)
            if len(kept) == num:
                raise Lost

        with monkeypatch.context() as patched:
            patched.setattr(Checkpoints, "keep", lost)
            with pytest.raises(Lost):
                tm.run(recipe, out)

    return run


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample in portions of 320 tokens."""
    monkeypatch.setattr(sampling, "_portion", lambda settings: 320)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the candidates that are sampled from now on."""
    numbers: list[int] = []
    stream = sampling.stream

    def noted(seed: int, *names: str | int):
        if names[1] != "base":
            numbers.append(int(names[2]))
        return stream(seed, *names)

    monkeypatch.setattr(sampling, "stream", noted)
    return numbers


@pytest.fixture(scope="module")
def whole(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the run that was never lost."""
    return contents(tm.run(recipe, tmp_path_factory.mktemp("whole") / "run").path)


def test_a_lost_sample_goes_on_behind_its_checkpoint_to_the_same_bytes(
    recipe, whole, lose, drawn, portions, tmp_path
):
    out = tmp_path / "run"
    lose(recipe, out, 3)
    kept = read_parquet(out / "checkpoints" / "gen-00-sample" / "candidates.parquet")
    assert sum(kept["tokens"]) >= 3 * 320
    drawn.clear()
    run = tm.run(recipe, out)
    assert drawn[0] == len(kept)
    assert set(drawn) == set(range(len(kept), len(run.sampled(0))))
    assert contents(out) == whole  # and no checkpoint is left


def test_a_longer_sample_goes_on_from_its_own_checkpoint(recipe, lose, drawn, portions, tmp_path):
    longer = recipe.replace(sample={"oversample": 2.0})
    expected = contents(tm.run(longer, tmp_path / "whole").path)
    out = tm.run(recipe, tmp_path / "run").path
    lose(longer, out, 2)
    kept = read_parquet(out / "checkpoints" / "gen-00-sample" / "candidates.parquet")
    drawn.clear()
    tm.run(longer, out)
    assert drawn[0] == len(kept)
    assert contents(out) == expected


def test_a_damaged_checkpoint_is_not_used_and_a_warning_says_so(
    recipe, whole, lose, drawn, portions, tmp_path, caplog
):
    out = tmp_path / "run"
    lose(recipe, out, 1)
    path = out / "checkpoints" / "gen-00-sample" / "candidates.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    drawn.clear()
    with caplog.at_level(logging.WARNING, "textmad.store.checkpoints"):
        tm.run(recipe, out)
    assert f"gen-00/sample starts anew: its checkpoint is damaged: {path}" in caplog.text
    assert drawn[0] == 0
    assert contents(out) == whole


def test_a_checkpoint_of_other_inputs_is_not_used_and_a_warning_says_so(
    recipe, whole, lose, drawn, portions, tmp_path, caplog
):
    other, out = tmp_path / "other", tmp_path / "run"
    lose(recipe.replace(seed=1), other, 1)
    lose(recipe, out, 1)
    place = out / "checkpoints" / "gen-00-sample"
    shutil.rmtree(place)
    shutil.copytree(other / "checkpoints" / "gen-00-sample", place)
    drawn.clear()
    with caplog.at_level(logging.WARNING, "textmad.store.checkpoints"):
        tm.run(recipe, out)
    assert f"gen-00/sample starts anew: {place} is a checkpoint of other inputs" in caplog.text
    assert drawn[0] == 0
    assert contents(out) == whole


def test_a_short_stage_keeps_no_checkpoint_and_the_setting_may_change(
    recipe, whole, lose, portions, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    lose(recipe, out, 1)

    def none(self: Checkpoints, write: Callable[[Path], None]) -> None:
        raise AssertionError("ten minutes have not passed")

    monkeypatch.setattr(Checkpoints, "keep", none)
    run = tm.run(recipe.replace(checkpoint_minutes=10), out)
    assert {**contents(run.path), "recipe.yaml": b""} == {**whole, "recipe.yaml": b""}


@pytest.mark.parametrize("lora", [{"rank": 4, "dropout": 0.2}, None], ids=["adapter", "full"])
def test_a_lost_fit_goes_on_between_two_steps_to_the_same_bytes(
    lora, words, tiny_gpt2_folder, lose, tmp_path, monkeypatch
):
    """Moments of AdamW and, with an adapter, the random numbers of dropout are part of it."""
    recipe = tm.Recipe(
        generations=0,
        corpus={"source": str(words), "held_out": 0.2},
        model={"base": str(tiny_gpt2_folder), "lora": lora},
        train={"batch_tokens": 100, "learning_rate": 1e-2},
        mix={"model_tokens": 600},
        sample={"min_tokens": 50, "max_new_tokens": 10},
        evaluate=[],
        checkpoint_minutes=ALWAYS,
    )
    expected = contents(tm.run(recipe, tmp_path / "whole").path)
    steps: list[int] = []
    step = Learner.step

    def noted(self: Learner, examples, rate, num_targets):
        steps.append(num_targets)
        return step(self, examples, rate, num_targets)

    monkeypatch.setattr(Learner, "step", noted)
    lose(recipe, tmp_path / "run", 2)
    assert len(steps) == 2
    lose(recipe, tmp_path / "run", 1)
    assert len(steps) == 3  # the first two are not taken again
    tm.run(recipe, tmp_path / "run")
    curve = json.loads(expected["gen-00/model/training.json"])["curve"]
    assert len(steps) == len(curve) > 4
    assert contents(tmp_path / "run") == expected
