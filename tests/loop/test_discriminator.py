"""The discriminator and human votes in the whole loop: lessons, agreement, records, a resume."""

import json
import shutil
from pathlib import Path

import pytest

import textmad as tm
from textmad.curation import Discriminator, Upvotes
from textmad.report.tables import main_table

BUDGET, CHECK = 40, 30


@pytest.fixture(scope="module")
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(
        generations=1, sample={"oversample": 8.0}, evaluate=["discriminator"]
    )


@pytest.fixture(scope="module")
def run(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    judge = Discriminator(
        keep=0.4,
        votes=Upvotes({"learned_votes": 1.0, "variety": 1.0}, voters=9, keep=0.5),
        budget=BUDGET,
        check=CHECK,
        backend="lora",
        epochs=1,
    )
    out = tmp_path_factory.mktemp("discriminator") / "run"
    return tm.run(recipe.replace(curate=[judge]), out)


def test_what_the_crowd_says_and_what_is_made_of_it_stand_in_the_table(run: tm.Run):
    for generation in (0, 1):
        table = run.candidates(generation).to_pandas()
        assert (table["crowd_accepts"] != 0).sum() == BUDGET
        assert (table["check_accepts"] != 0).sum() == CHECK
        assert table["kept"].sum() == round(0.4 * len(table))
        assert not table.loc[table["crowd_accepts"] == -1, "kept"].any()
        assert table["accept_probability"].between(0, 1).all()
        assert (table["score"] == table["accept_probability"]).all()


def test_its_agreement_is_measured_each_generation_and_its_lessons_add_up(run: tm.Run):
    metrics = run.metrics.set_index(["generation", "metric"])["value"]
    assert [metrics[g, "discriminator_lessons"] for g in (0, 1)] == [BUDGET, 2 * BUDGET]
    for generation in (0, 1):
        table = run.candidates(generation).to_pandas()
        checked = table[table["check_accepts"] != 0]
        agree = (checked["check_accepts"] == 1) == checked["discriminator_accepts"]
        assert metrics[generation, "discriminator_agreement"] == pytest.approx(agree.mean())
        assert 0 <= metrics[generation, "discriminator_auc"] <= 1


def test_what_was_learned_from_human_votes_is_on_record_with_its_warning(run: tm.Run):
    report = tm.learned_votes.fit(run.human).report
    # The votes of the tests' human text are drawn whatever it says.
    assert report["warning"].startswith("learned_votes is not better than length alone")
    assert report["documents"] == len(run.human)
    for generation in (0, 1):
        assert run.records(generation) == {"learned_votes": json.loads(json.dumps(report))}
    assert run.warnings == [report["warning"]]
    assert f"Warning: {report['warning']}." in main_table(run).notes


def test_the_same_is_said_learned_and_kept_after_a_resume(run: tm.Run, tmp_path: Path):
    again = Path(shutil.copytree(run.path, tmp_path / "run"))
    for stage in ("curate", "evaluate"):
        shutil.rmtree(again / "gen-01" / stage)
    (again / "metrics.parquet").unlink()
    tm.run(run.recipe, again)
    files = [*run.path.glob("gen-*/*/*.parquet"), *run.path.glob("gen-*/curate/*.json")]
    assert len(files) >= 2 * (4 + 2)
    for path in files:
        assert (again / path.relative_to(run.path)).read_bytes() == path.read_bytes()


def test_a_record_that_is_no_json_is_an_error_with_the_filter(recipe: tm.Recipe, tmp_path: Path):
    with pytest.raises(tm.CurationError, match=r"_set, generation 0: record odd: cannot be writt"):
        tm.run(recipe.replace(generations=0, curate=[records_a_set]), tmp_path / "run")


def records_a_set(candidates, context):
    context.record("odd", {"words": {"a"}})


def test_a_run_without_records_has_none(finished_run: tm.Run):
    assert finished_run.records(0) == {}
    assert finished_run.warnings == []
