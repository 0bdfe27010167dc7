"""Scripts whose numbers stand on a page run on a run of today's format."""

import re
import runpy
import sys
from pathlib import Path

import pytest

import textmad as tm
from textmad.calibration import votes
from textmad.calibration.loops import HumanText

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("prompt", ["none", "human"])
def test_the_script_about_detectors_tells_every_method_on_whole_and_on_cut_texts(
    prompt: str,
    tmp_path: Path,
    tiny_gpt2_folder: Path,
    human_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    recipe = tm.Recipe(
        generations=0,
        corpus={"source": str(human_corpus)},
        model={"base": str(tiny_gpt2_folder)},
        train={"epochs": 1},
        mix={"human_tokens": 0, "model_tokens": 600},
        sample={"min_tokens": 2400, "max_new_tokens": 48, "prompt": prompt},
        evaluate=["perplexity"],
    )
    run = tm.run(recipe, out=tmp_path / "run")
    assert not all(run.candidates(0)["finished"])
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["detection_auc.py", str(run.path)])
    runpy.run_path(str(ROOT / "scripts/detection_auc.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r">= (\d+) tokens", line) for line in lines] == [["0"], ["40"]]
    for line in lines:
        assert int(re.findall(r", (\d+) documents", line)[0]) > 10
        values = dict(re.findall(r"(curvature|cross_perplexity|trained) (\d\.\d{3})", line))
        assert values.keys() == {"curvature", "cross_perplexity", "trained"}
        assert all(0 <= float(value) <= 1 for value in values.values())


def test_the_script_about_forecasts_counts_the_bands_that_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    human = HumanText("texts", 2, 300)
    recipe = tm.Recipe(
        generations=3,
        **{
            **human.settings,
            "corpus": {**human.settings["corpus"], "source": str(human.write(tmp_path))},
        },
    )
    recipe = recipe.replace(
        mix={"model_tokens": human.tokens(100)},
        sample={"oversample": 2.0, "min_tokens": 100},
        curate=[votes.crowd(2)],
        evaluate=[],
    )
    tm.run(recipe, tmp_path / "study" / "runs" / "arm" / "seed-0")
    monkeypatch.setattr(sys, "argv", ["forecast_coverage.py", str(tmp_path / "study")])
    runpy.run_path(str(ROOT / "scripts/forecast_coverage.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    (reward,) = [line for line in lines if line.startswith("| reward |")]
    cells = [cell.strip() for cell in reward.strip("|").split("|")]
    assert cells[1:4] == ["1", "1", "1"]  # an arm, a run, a forecast
    assert all(0 <= float(cell) <= 1 for cell in cells[4:7])
    assert "1 finished runs" in lines
    assert any(line.startswith("no forecast for 1 traits: not possible") for line in lines)
