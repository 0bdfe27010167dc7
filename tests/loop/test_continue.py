"""A run may be asked for more: generations, evaluators, oversample. What it has learned stays."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from tests.run_contents import contents
from textmad import store


def below(files: dict[str, bytes], *places: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith(places)}


@dataclass(frozen=True)
class EverySecond:
    """Keeps half of the candidates, and does not say so: no plan can know it."""

    def __call__(self, candidates, context):
        keep = np.arange(len(candidates)) % 2 == 0
        return tm.Verdicts(keep=keep, score=keep.astype(float), reason="odd")


@pytest.fixture(scope="module")
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(generations=1)


@pytest.fixture(scope="module")
def finished(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    """Two generations, nothing filtered; only to be read."""
    return tm.run(recipe, tmp_path_factory.mktemp("continue") / "finished")


@pytest.fixture
def copied(finished: tm.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.path, tmp_path / "run"))


def test_a_finished_run_with_more_generations_is_what_a_longer_run_would_have_been(
    copied: Path, recipe: tm.Recipe, tmp_path: Path
):
    before = contents(copied)
    run = tm.run(recipe.replace(generations=2), copied, overrides={"generations": 2})
    assert run.generations == [0, 1, 2]
    assert run.complete
    after = contents(copied)
    kept = below(before, "corpus", "gen-00", "gen-01")
    assert len(kept) > 20
    assert below(after, "corpus", "gen-00", "gen-01") == kept
    assert after == contents(tm.run(recipe.replace(generations=2), tmp_path / "anew").path)
    extents = [session["extent"]["generations"] for session in run.provenance["sessions"]]
    assert extents == [1, 2]


def test_a_run_that_died_of_too_little_kept_text_goes_on_with_a_larger_oversample(
    recipe: tm.Recipe, tmp_path: Path
):
    recipe = recipe.replace(curate=[EverySecond()])
    with pytest.raises(tm.CurationError, match=r"raise sample\.oversample"):
        tm.run(recipe, tmp_path / "run")
    learned = below(contents(tmp_path / "run"), "corpus", "gen-00/mix", "gen-00/model")
    few = tm.Run(tmp_path / "run").candidates(0)
    more = recipe.replace(sample={"oversample": 3.0})
    run = tm.run(more, tmp_path / "run")
    assert run.complete
    assert below(contents(run.path), "corpus", "gen-00/mix", "gen-00/model") == learned
    many = run.candidates(0)
    assert len(many) > 2 * len(few)
    assert many["text"][: len(few)] == few["text"][:]
    assert contents(run.path) == contents(tm.run(more, tmp_path / "anew").path)


def test_what_was_learned_from_is_not_sampled_again_and_the_last_sample_goes_on(
    copied: Path, recipe: tm.Recipe
):
    before, few = contents(copied), tm.Run(copied).candidates(1)["text"][:]
    run = tm.run(recipe.replace(sample={"oversample": 2.0}), copied)
    after = contents(copied)
    unchanged = ("corpus", "gen-00", "gen-01/mix", "gen-01/model")
    assert below(after, *unchanged) == below(before, *unchanged)
    many = run.candidates(1)["text"][:]
    assert many[: len(few)] == few
    assert sum(run.candidates(1)["tokens"]) >= 1200 > sum(run.candidates(0)["tokens"])
    assert run.complete
    assert [s["extent"]["oversample"] for s in run.provenance["sessions"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("call", "number"), [("discard", 0), ("discard", 2), ("replace", 0), ("commit", 0)]
)
def test_an_extension_that_is_interrupted_goes_on_to_the_same_bytes(
    copied: Path,
    recipe: tm.Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
):
    """Stopped while old stages are deleted, before the new sample is put in place, and after."""
    more = recipe.replace(sample={"oversample": 2.0})
    whole = Path(shutil.copytree(copied, tmp_path / "whole"))
    tm.run(more, whole)
    real, calls = getattr(store, call), []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > number:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            tm.run(more, copied)
    assert contents(copied) != contents(whole)
    assert tm.run(more, copied).complete
    assert contents(copied) == contents(whole)


def test_an_evaluator_that_is_added_measures_every_generation_in_a_stage_of_its_own(
    copied: Path, recipe: tm.Recipe, tmp_path: Path
):
    before = contents(copied)
    more = recipe.replace(evaluate=[*recipe.evaluate, "self_bleu"])
    run = tm.run(more, copied)
    after = contents(copied)
    assert below(after, "corpus", "gen-") == {
        **below(before, "corpus", "gen-"),
        **{name: data for name, data in after.items() if "/evaluate-2/" in name},
    }
    assert sum("/evaluate-2/metrics.parquet" in name for name in after) == 2
    anew = tm.run(more, tmp_path / "anew")  # both at once, in one stage
    assert run.metrics.equals(anew.metrics)
    assert set(run.metrics["evaluator"]) == {"perplexity", "self_bleu"}
    # A generation that is added is measured by both.
    longer = tm.run(more.replace(generations=2), copied)
    assert longer.complete
    counts = longer.metrics.groupby("generation")["evaluator"].nunique()
    assert counts.to_dict() == {0: 2, 1: 2, 2: 2}


def test_a_measurement_that_was_deleted_is_computed_again_in_its_place(copied: Path):
    for name in ("self_bleu", "diversity"):
        run = tm.evaluate(copied, [name])
    before, table = contents(copied), run.metrics
    (copied / "gen-00" / "evaluate-2" / "manifest.json").unlink()
    with pytest.raises(tm.RunError, match=r"evaluate-2/manifest\.json: is missing: delete"):
        run.metrics  # noqa: B018
    shutil.rmtree(copied / "gen-00" / "evaluate-2")
    assert not tm.Run(copied).complete
    run = tm.run(run.recipe, copied)
    assert run.complete
    assert contents(copied) == before
    assert run.metrics.equals(table)


def test_evaluate_measures_a_finished_run_again_and_once_only(copied: Path):
    run = tm.evaluate(copied, ["self_bleu"])
    assert set(run.metrics["evaluator"]) == {"perplexity", "self_bleu"}
    assert [part.name for part in run.recipe.evaluate] == ["perplexity", "self_bleu"]
    files = contents(copied)
    assert tm.evaluate(copied, ["self_bleu"]).complete
    assert contents(copied) == files
    with pytest.raises(tm.RecipeError, match="perplexity: is given twice"):
        tm.evaluate(copied, [{"perplexity": {"held_out_tokens": 500}}])


def test_a_recipe_that_asks_for_less_is_an_error_with_what_is_there(
    copied: Path, recipe: tm.Recipe
):
    tm.run(recipe.replace(sample={"oversample": 2.0}), copied)
    less = recipe.replace(generations=0, evaluate=["diversity"], train={"epochs": 2})
    with pytest.raises(tm.RecipeError) as caught:
        tm.run(less, copied)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "train.epochs: 1 there, 2 now",
        "generations: 0: generation 1 is there: give at least 1",
        "sample.oversample: 1: samples 600 tokens a generation, there are 1,200 already: give as "
        "much as before, or more",
        "evaluate: perplexity: has measured this run: keep it in the recipe, with the same "
        "settings",
    ]


def test_an_extension_that_cannot_be_computed_can_be_taken_back(copied: Path, recipe: tm.Recipe):
    human = recipe.replace(mix={"human_tokens": 600, "human": "fresh"}, generations=0)
    run = tm.run(human, copied.parent / "human")
    with pytest.raises(tm.CorpusError, match="up to generation 500"):
        tm.run(human.replace(generations=500), run.path)
    assert tm.run(human.replace(generations=1), run.path).complete


def test_a_generations_model_is_opened_and_scores_as_it_did(finished: tm.Run):
    model = finished.model(1)
    texts = finished.held_out["text"][:5]
    assert [len(nll) for nll in model.token_nll(texts)] == [len(ids) for ids in model.encode(texts)]
    total = sum(nll.sum() for nll in model.token_nll(texts))
    assert total != sum(nll.sum() for nll in finished.base.token_nll(texts))
    with pytest.raises(tm.RunError, match="gen-02/model is not there"):
        finished.model(2)
