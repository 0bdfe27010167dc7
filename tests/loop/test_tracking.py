"""Live figures: what is sent to a tracker, and that a run is the same without one."""

import importlib.util
import struct
import sys
import types
from pathlib import Path

import pytest

import textmad as tm
from tests.random_words import write_words
from textmad.loop import feasibility
from textmad.loop.tracking import tracked_values


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> tm.Recipe:
    """Two generations of words from a hundred."""
    path = write_words(tmp_path_factory.mktemp("corpus") / "words.jsonl")
    return tm.Recipe(
        generations=1,
        corpus={"source": str(path), "held_out": 0.2},
        model={"base": "categorical", "categories": 100, "smoothing": 0.5},
        mix={"model_tokens": 2_000},
        sample={"min_tokens": 2_000},
        evaluate=["perplexity"],
    )


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """The scalars in TensorBoard's event files: each a length, its CRC, an Event and its CRC."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.rglob("events.*"):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard_is_sent_every_metric_of_each_generation_once(recipe, tmp_path):
    run = tm.run(recipe.replace(track="tensorboard"), tmp_path / "run")
    wanted = {
        (name, generation): value
        for generation in (0, 1)
        for name, value in tracked_values(
            run.metrics[run.metrics["generation"] == generation]
        ).items()
    }
    assert ("perplexity/held_out", 1) in wanted
    assert scalars(tmp_path / "run" / "tracking") == pytest.approx(wanted, rel=1e-6)
    # A longer run sends what is new, into a file beside the first.
    longer = recipe.replace(track="tensorboard", generations=2)
    tm.run(longer, tmp_path / "run")
    assert {step for _, step in scalars(tmp_path / "run" / "tracking")} == {0, 1, 2}
    assert len(list((tmp_path / "run" / "tracking").rglob("events.*"))) == 2


def test_a_tracker_changes_no_result_and_may_come_and_go(recipe, tmp_path):
    plain = tm.run(recipe, tmp_path / "plain")
    tracked = tm.run(recipe.replace(track="tensorboard"), tmp_path / "tracked")
    for name in ("metrics.parquet", "gen-01/evaluate/manifest.json"):
        if (plain.path / name).exists():
            assert (plain.path / name).read_bytes() == (tracked.path / name).read_bytes()
    tm.run(recipe, tmp_path / "tracked")
    # A finished run that is given one sends all that it has.
    tm.run(recipe.replace(track="tensorboard"), tmp_path / "plain")
    assert {step for _, step in scalars(tmp_path / "plain" / "tracking")} == {0, 1}


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_an_error_before_anything_is_run(
    name, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(feasibility.importlib.util, "find_spec", lambda package: None)
    message = f"track: {name}: the package {name} is not installed: run `pip install {name}`"
    for refusing in (tm.make_plan, lambda recipe: tm.run(recipe, tmp_path / "run")):
        with pytest.raises(tm.RecipeError) as rejected:
            refusing(recipe.replace(track=name))
        assert str(rejected.value).startswith(message)
    assert not (tmp_path / "run").exists()


def test_wandb_works_offline_in_the_run_folder(recipe, tmp_path, monkeypatch):
    calls = []

    class WandbRun:
        def log(self, values, step=None, **_):
            calls.append(("log", step, "perplexity/held_out" in values))

        def finish(self):
            calls.append(("finish",))

    fake = types.ModuleType("wandb")
    fake.__spec__ = importlib.util.spec_from_loader("wandb", loader=None)
    fake.init = lambda **options: calls.append(("init", options)) or WandbRun()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    tm.run(recipe.replace(track="wandb"), tmp_path / "run")
    (_, options), *rest = calls
    assert options["mode"] == "offline"
    assert options["dir"] == str(tmp_path / "run" / "tracking")
    assert rest == [("log", 0, True), ("log", 1, True), ("finish",)]
