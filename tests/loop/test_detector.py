"""Detectors in the whole loop: what each method keeps and measures, and after a resume."""

from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from tests.run_contents import check_resumed
from textmad.curation import Detector
from textmad.detection import Models, human_likeness
from textmad.models.opening import open_model
from textmad.models.protocol import expecting
from textmad.text.passages import Passages

METHODS = ("curvature", "cross_perplexity", "trained")


@pytest.fixture(scope="module")
def run(short_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    recipe = short_recipe.replace(
        generations=1,
        sample={"oversample": 6.0},
        curate=[
            Detector(keep=0.7),
            Detector("cross_perplexity", use="resample", keep=0.7, exponent=2.0),
            Detector("trained", keep=0.7),
        ],
        evaluate=[{"detection": {"methods": list(METHODS)}}],
    )
    return tm.run(recipe, tmp_path_factory.mktemp("detector") / "run")


def test_each_detector_rejects_its_share_and_says_why(run: tm.Run):
    for generation in range(2):
        table = run.candidates(generation).to_pandas()
        left = len(table)
        for method in METHODS:
            rejected = table["reason"].str.contains(method).sum()
            assert left - rejected == round(0.7 * left)
            left -= rejected
        assert table["kept"].sum() == left
        probability = table[["model_probability", "model_probability_3"]].to_numpy()
        assert (np.nan_to_num(probability, nan=0.5) > 0).all()
        assert (np.nan_to_num(probability, nan=0.5) < 1).all()


def test_the_first_filter_judged_by_curvature_under_the_base(run: tm.Run):
    base = open_model(run.recipe.model, run.recipe.sample)
    candidates = run.candidates(1).to_pandas()
    models = Models(expecting(base).token_moments, base.token_nll, lambda texts: [])
    expected = human_likeness("curvature", Passages.whole(candidates["text"]), models)
    rejected = candidates["reason"].str.contains("curvature").to_numpy()
    assert candidates.loc[rejected, "score"].tolist() == expected[rejected].tolist()
    assert expected[rejected].max() <= expected[~rejected].min()


def test_every_generation_tells_how_well_its_text_is_told(run: tm.Run):
    metrics = run.metrics
    assert set(metrics["metric"]) == {"detection_auc"}
    told = metrics[metrics["split"] == "drawn"]
    assert list(told["bin"]) == [*METHODS, *METHODS]
    assert told["value"].between(0, 1).all()
    human = metrics[metrics["split"] == "human"]
    assert (human["low"] < human["value"]).all()
    assert (human["value"] < human["high"]).all()


def test_the_same_documents_are_kept_after_a_resume(run: tm.Run, tmp_path: Path):
    check_resumed(run, tmp_path / "run", "gen-01/curate", "gen-01/evaluate")


def test_detectors_guard_a_crawl_without_a_label_to_see(short_recipe: tm.Recipe, tmp_path: Path):
    recipe = short_recipe.replace(
        generations=1,
        mix={"human_tokens": 600, "model_tokens": 300, "human": "fresh"},
        sample={"oversample": 2.0},
        crawl={
            "contamination": 0.4,
            "oversample": 3.0,
            "guard": [Detector(keep=0.8), Detector("trained", use="resample", keep=0.8)],
        },
        evaluate=["guards"],
    )
    run = tm.run(recipe, tmp_path / "run")
    metrics = run.metrics
    told = metrics[(metrics["metric"] == "guard_auc") & (metrics["generation"] == 1)]
    assert len(told) == 2
    assert told["value"].between(0, 1).all()
    crawled = run.crawl(1).to_pandas()
    assert set(crawled["origin"]) == {"human"}
    assert crawled["kept"].sum() == round(0.8 * round(0.8 * len(crawled)))
    assert crawled["model_probability"].notna().sum() == round(0.8 * len(crawled))
