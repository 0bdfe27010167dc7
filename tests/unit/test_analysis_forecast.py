"""The forecast of a run: what it uses, what it predicts, what it refuses, how it is shown."""

import math
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import textmad as tm
from textmad.analysis.forecast import Forecast, forecast
from textmad.calibration import votes
from textmad.calibration.loops import HumanText
from textmad.report.forecast import forecast_table, passing_sentence
from textmad.statistics.selection_response import Band, response

REWARD = "reward textmad.calibration.theory:reward"
HUMAN = HumanText("texts", 2, 600)


def recipe(corpora: Path, generations: int, **changes) -> tm.Recipe:
    """One of 20 texts a document; a crowd keeps one in two of them by Bradley and Terry."""
    settings = {
        **HUMAN.settings,
        "corpus": {**HUMAN.settings["corpus"], "source": str(HUMAN.write(corpora))},
        "generations": generations,
        "mix": {"model_tokens": HUMAN.tokens(250)},
        "curate": [votes.crowd(2)],
        "evaluate": ["diversity", "selection"],
    }
    sample = {**HUMAN.settings["sample"], "oversample": 2.0, "min_tokens": 300}
    return tm.Recipe(**{**settings, "sample": sample, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    folder = tmp_path_factory.mktemp("forecast")
    return tm.run(recipe(folder, 4), folder / "run")


def of(found: Forecast, name: str):
    (trait,) = [each for each in found.traits if each.trait.name == name]
    return trait


def test_selection_and_response_are_those_of_the_candidates(run: tm.Run):
    found = of(tm.forecast(run), REWARD)
    drawn, kept = [], []
    for generation in range(5):
        table = run.candidates(generation).to_pandas()
        rewards = table["reward_textmad.calibration.theory:reward"]
        drawn.append(rewards.mean())
        kept.append(rewards[table["kept"]].mean())
    assert [*found.trait.drawn.values()] == pytest.approx(drawn)
    assert [*found.trait.kept.values()] == pytest.approx(kept)
    assert found.response == response(drawn[:2], kept[:2])
    # The model learns by counting, so it shows what was selected: up to chance h2 is 1.
    assert of(tm.forecast(run, generation=3), REWARD).response.heritability == pytest.approx(
        1, abs=0.35
    )
    metrics = run.metrics
    rows = metrics[(metrics["metric"] == "selection_differential") & (metrics["bin"] == REWARD)]
    assert rows["value"].tolist() == pytest.approx(np.subtract(kept, drawn))


@pytest.fixture(scope="module")
def tail(tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    """Documents of 10 words, of which those with words that are rare in human text are kept."""
    folder, human = tmp_path_factory.mktemp("tail"), HumanText("counts", 10, 500)
    settings = human.settings
    sample = {**settings["sample"], "oversample": 4.0, "min_tokens": human.tokens(400)}
    given = {
        "corpus": {**settings["corpus"], "source": str(human.write(folder))},
        "sample": sample,
        "mix": {"model_tokens": human.tokens(400)},
        "curate": [{"rescue": {"by": "coverage", "keep": 0.25}}],
        "evaluate": [{"rare_tokens": {"held_out_tokens": 100}}, "diversity", "selection"],
    }
    return tm.run(tm.Recipe(**{**settings, **given, "generations": 2}), folder / "run")


def test_rare_words_and_rare_tokens_are_forecast_where_a_filter_keeps_them(tail: tm.Run):
    # The rarest words that together make up a tenth of human text, counted here.
    counts = Counter(word for text in tail.human["text"] for word in text.split())
    below, common = 0, set()
    for word, number in sorted(counts.items(), key=lambda each: each[1]):
        if below >= 0.1 * counts.total():
            common.add(word)
        below += number
    rates = []
    for generation in range(2):
        table = tail.candidates(generation).to_pandas()
        table["rate"] = table["text"].map(
            lambda text: np.mean([w not in common for w in text.split()])
        )
        rates.append((table["rate"].mean(), table["rate"][table["kept"]].mean()))
    found = of(forecast(tail), "rare words")
    assert [found.trait.drawn[g] for g in range(2)] == pytest.approx([r for r, _ in rates])
    assert [found.trait.kept[g] for g in range(2)] == pytest.approx([r for _, r in rates])
    # The model learns by counting: it writes as many rare words as it was given, so h2 is 1.
    assert found.response.heritability == pytest.approx(1, abs=0.4)  # 2 sd
    assert found.predicted[2].low < found.trait.drawn[2] < found.predicted[2].high
    # A word is a token here; the metric is of fewer of them.
    tokens = of(forecast(tail), "rare_rate")
    assert tokens.predicted[2].low < tokens.trait.drawn[2] < tokens.predicted[2].high
    distinct = of(forecast(tail, metrics=["distinct_1"]), "distinct_1")
    assert distinct.predicted[2].low < distinct.trait.drawn[2] < distinct.predicted[2].high


def test_the_error_of_a_metric_is_that_of_one_text_and_not_of_a_reference(tail: tm.Run):
    """An interval holds one more text's distance from the mean of 20 samples of half of another."""
    rows = tail.metrics
    human = rows[(rows["metric"] == "distinct_1") & (rows["split"] == "human")]
    half_width = float((human["high"] - human["low"]).mean()) / 2
    of_a_text = half_width / stats.t(8).ppf(0.975) / math.sqrt(1 + 1 / 2 + 1 / 2 / 20)
    found = of(forecast(tail, metrics=["distinct_1"]), "distinct_1")
    assert found.trait.error == pytest.approx(of_a_text)


def test_a_forecast_uses_nothing_that_comes_after_its_generation(run: tm.Run, tmp_path: Path):
    early = Path(shutil.copytree(run.path, tmp_path / "run"))
    for generation in (2, 3, 4):
        shutil.rmtree(early / f"gen-{generation:02d}")
    then, now = (forecast(folder, metrics=["distinct_1"]) for folder in (early, run))
    for one, other in zip(then.traits, now.traits, strict=True):
        assert (one.predicted, one.response, one.note) == (
            other.predicted,
            other.response,
            other.note,
        )
    assert then.table["measured"].isna().all()
    assert now.table["measured"].notna().all()


def test_the_prediction_rises_with_the_reward_and_no_change_stays(run: tm.Run):
    table = forecast(run).table
    reward = table[table["trait"] == REWARD]
    assert reward["generation"].tolist() == [2, 3, 4]
    assert (reward["no_change"] == of(forecast(run), REWARD).trait.drawn[1]).all()
    assert (reward["predicted"] > reward["no_change"]).all()
    assert (reward["low"] < reward["predicted"]).all()
    assert (reward["predicted"] < reward["high"]).all()
    errors = [
        (reward[name] - reward["measured"]).abs().sum() for name in ("predicted", "no_change")
    ]
    assert errors[0] < errors[1]


def test_a_trait_that_nothing_selects_has_no_forecast(run: tm.Run, tmp_path: Path):
    # Every document has two words.
    length = of(forecast(run), "length")
    assert length.predicted == {}
    assert length.note == "not possible: how exactly it is measured is not known"
    free = tm.run(recipe(tmp_path, 2, curate=[{"random": {"keep": 0.5}}]), tmp_path / "run")
    noisy = of(forecast(free, metrics=["distinct_1"]), "distinct_1")
    assert noisy.note == (
        "not possible: nothing is selected beyond chance, so selection predicts no change"
    )
    assert noisy.response is not None


def test_how_long_is_left_is_a_generation_or_later_than_the_horizon(run: tm.Run):
    start = of(forecast(run), REWARD).trait.drawn
    moved = abs(start[1] - start[0]) / abs(start[0])
    soon = of(forecast(run, tolerance=moved / 2), REWARD).passes
    assert soon == Band(1, 1, 1)
    never = of(forecast(run, tolerance=1e3), REWARD).passes
    assert never == Band(math.inf, math.inf, math.inf)
    assert of(forecast(run), REWARD).passes is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generation": 0}, "generation: 0: expected at least 1: a response takes two generations"),
        (
            {"generation": 7},
            "generation 7 is not complete: expected one of those that are, 0, 1, 2, 3, 4",
        ),
        (
            {"horizon": 1},
            "horizon: 1: expected a generation after 1, the last that the forecast uses",
        ),
        ({"tolerance": 0.0}, "tolerance: 0: expected a share above 0, such as 0.1"),
        ({"tolerance": math.nan}, "tolerance: nan: expected a share above 0, such as 0.1"),
        ({"metrics": ["perplexity"]}, "metric: perplexity: is not measured on drawn text in "),
    ],
)
def test_a_bad_setting_is_an_error(run: tm.Run, settings, message):
    with pytest.raises(tm.RunError, match=re.escape(message)):
        forecast(run, **settings)


def test_the_table_has_a_line_for_each_generation_and_says_when_the_tolerance_is_passed(
    run: tm.Run,
):
    found = forecast(run, tolerance=1e3)
    table = forecast_table(found)
    (first,) = [row for row, line in enumerate(table.lines) if line[0] == REWARD]
    assert [line[3] for line in table.lines] == ["0", "1", "2", "3", "4"] * len(found.traits)
    assert all(line[6] == "" for line in table.lines if line[3] in "01")
    assert " to " in table.lines[first + 4][7]
    assert table.notes[0].startswith("An extrapolation from generations 0 to 1")
    said = f"{REWARD}: a change of 100000 % is not passed within 4 generations."
    assert said in table.notes


@pytest.mark.parametrize(
    ("passes", "sentence"),
    [
        (Band(1, 1, 1), "a change of 20 % was passed at generation 1."),
        (
            Band(3, 2, 4),
            "a change of 20 % is passed at generation 3 (80 % band: generations 2 to 4).",
        ),
        (Band(3, 3, 3), "a change of 20 % is passed at generation 3 (80 % band: generation 3)."),
        (
            Band(3, 2, math.inf),
            "a change of 20 % is passed at generation 3 (80 % band: generations 2 to later than "
            "4).",
        ),
        (
            Band(math.inf, 4, math.inf),
            "a change of 20 % is more likely not passed within 4 generations; at the earliest at "
            "generation 4 (80 % band).",
        ),
        (Band(*[math.inf] * 3), "a change of 20 % is not passed within 4 generations."),
    ],
)
def test_the_sentence_says_how_sure_the_generation_is(passes, sentence):
    assert passing_sentence(passes, Forecast(Path("run"), 1, 4, 0.2, ())) == sentence


def test_the_command_prints_the_table(run: tm.Run, textmad):
    answer = textmad("forecast", str(run.path), "--tolerance", "0.5")
    assert answer.code == 0
    assert "| trait | h² |" in answer.out
    assert REWARD in answer.out
    refused = textmad("forecast", str(run.path), "--horizon", "1")
    assert refused.code == 73
    assert "horizon: 1: expected a generation after 1" in refused.err


def test_the_report_of_a_run_has_the_forecast_where_a_filter_selects(run: tm.Run, tmp_path: Path):
    page = tm.write_report([run], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Forecast from generation 1" in page
    free = tm.run(recipe(tmp_path, 2, curate=[]), tmp_path / "run")
    page = tm.write_report([free], tmp_path / "free.html").read_text(encoding="utf-8")
    assert "Forecast from generation 1" not in page
