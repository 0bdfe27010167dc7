"""A study may be asked for more: its runs are measured again, and grow longer."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import textmad as tm
from textmad.progress import SilentProgress
from textmad.studies.folder import evaluate_study


@pytest.fixture(scope="module")
def plan(short_recipe: tm.Recipe) -> dict[str, Any]:
    recipe = short_recipe.replace(generations=0)
    arms = {"cool": {"sample.temperature": 0.8}, "warm": {}}
    return {"recipe": recipe, "seeds": [0], "arms": arms, "controls": False}


def test_a_study_is_measured_again_and_continued_with_the_evaluators_it_has_then(
    plan: dict[str, Any], tmp_path: Path
):
    tm.study(plan, tmp_path / "study")
    runs = evaluate_study(tmp_path / "study", ["self_bleu"], SilentProgress())
    assert [set(run.metrics["evaluator"]) for run in runs] == [{"perplexity", "self_bleu"}] * 2
    record = yaml.safe_load((tmp_path / "study" / "study.yaml").read_text())
    names = [str(arm["recipe"]["evaluate"][1]) for arm in record["arms"].values()]
    assert len(names) == 2
    assert all("self_bleu" in name for name in names)

    with pytest.raises(tm.RecipeError, match="evaluate: self_bleu: has measured this run: keep"):
        tm.study(plan, tmp_path / "study")
    recipe = plan["recipe"]
    longer = recipe.replace(generations=1, evaluate=[*recipe.evaluate, "self_bleu"])
    grown = tm.study({**plan, "recipe": longer}, tmp_path / "study")
    assert [run.generations for arm in grown.values() for run in arm] == [[0, 1], [0, 1]]
    assert all(run.complete for arm in grown.values() for run in arm)
