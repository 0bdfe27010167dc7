"""Authors, crowds and twins in the whole loop: their votes in the table, and after a resume."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from tests.run_contents import check_resumed
from textmad.curation import Author, Bots, Crowd, Exposure, MatchedRandom, Upvotes
from textmad.store import RunFolder

CROWD = Upvotes(
    scorer={"fluency": 0.7, "variety": 0.3},
    voters=20,
    keep=0.5,
    crowd=Crowd(taste_spread=0.3, noise_spread=0.3, abstain=0.1, at_random=0.1, herding=0.2),
    bots=Bots(share=0.1, pattern="the"),
    exposure=Exposure("rank", attention=0.5, rounds=4),
    rank="wilson",
)


@pytest.fixture(scope="module")
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(generations=1, sample={"oversample": 6.0})


@pytest.fixture(scope="module")
def run(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    out = tmp_path_factory.mktemp("crowd") / "run"
    return tm.run(recipe.replace(curate=[Author(2), CROWD]), out)


def test_votes_exposure_and_rank_stand_in_the_table_of_what_was_posted(run: tm.Run):
    table = run.candidates(1).to_pandas()
    posted = table[table["filter"] != "author"]
    assert table.loc[table["filter"] == "author", "ups"].isna().all()
    assert (posted["ups"] - posted["downs"] == posted["votes"]).all()
    assert (posted["ups"] + posted["downs"] <= posted["exposure"]).all()
    assert sorted(posted["rank"]) == list(range(1, len(posted) + 1))
    assert posted.loc[posted["kept"], "rank"].max() == posted["kept"].sum()
    assert posted[["reward_fluency_2", "reward_variety"]].notna().all(axis=None)


def test_the_same_votes_are_cast_after_a_resume(run: tm.Run, tmp_path: Path):
    check_resumed(run, tmp_path / "run", "gen-01/curate", "gen-01/evaluate")


def test_a_twin_sees_the_votes_of_its_original_and_keeps_as_many_tokens(
    recipe: tm.Recipe, run: tm.Run, tmp_path: Path
):
    twin = tm.run(
        recipe.replace(generations=0, curate=[Author(2), MatchedRandom(CROWD)]), tmp_path / "run"
    )
    voted, by_chance = run.candidates(0).to_pandas(), twin.candidates(0).to_pandas()
    assert by_chance["text"].tolist() == voted["text"].tolist()
    np.testing.assert_array_equal(by_chance["ups"], voted["ups"])
    assert by_chance["kept"].tolist() != voted["kept"].tolist()
    tokens = [table.loc[table["kept"], "tokens"].sum() for table in (voted, by_chance)]
    assert 0 <= tokens[1] - tokens[0] < voted["tokens"].max()


def test_the_scorers_of_ones_own_are_on_record_wherever_they_stand(
    recipe: tm.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "tests_own_taste.py").write_text(
        "def short(texts): return [-len(text) for text in texts]\n"
        "def loud(texts): return [text.count('!') for text in texts]\n"
    )
    (tmp_path / "markers.txt").write_text("the\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    scorer = {
        "residual(tests_own_taste:loud)": 1.0,
        "tests_own_taste:short": 0.5,
        "words(markers.txt)": 0.5,
    }
    one, other = {"upvotes": {"scorer": scorer}}, {"twin author": {"scorer": scorer}}
    run = tm.run(recipe.replace(generations=0, curate=[other, one]), tmp_path / "run")
    sys.modules.pop("tests_own_taste", None)
    (session,) = run.provenance["sessions"]
    assert set(session["own_code"]) == {
        "tests_own_taste:loud",
        "tests_own_taste:short",
        "words(markers.txt)",
    }


def test_a_crowd_taught_with_an_encoder_finds_it_again_by_its_name(
    recipe: tm.Recipe, run: tm.Run, tiny_gpt2_folder: Path, tmp_path: Path
):
    encoder = tm.open_encoder(str(tiny_gpt2_folder))
    taught = tm.learned_votes.fit(run.human, encoder)
    tm.learned_votes.save(taught, tmp_path / "votes")
    scorer = f"learned_votes({tmp_path / 'votes'})"
    short = recipe.replace(generations=0, curate=[Upvotes(scorer, noise=0)], evaluate=[])
    table = tm.run(short, tmp_path / "run").candidates(0).to_pandas()
    scores = taught.score(table["text"].tolist(), encoder)
    assert table[f"reward_{scorer}"].tolist() == scores
    assert scores != tm.learned_votes.fit(run.human).score(table["text"].tolist())


def test_tastes_drift_from_one_generation_to_the_next_and_the_same_after_a_resume(
    recipe: tm.Recipe, tmp_path: Path
):
    crowd = replace(
        CROWD,
        scorer={"length(5)": 1.0, "length(25)": 1.0},
        crowd=Crowd(taste_spread=1, drift=0.25),
        exposure=Exposure(),
    )
    recipe = recipe.replace(
        generations=2, curate=[Author(2), crowd], evaluate=["votes"], sample={"oversample": 6.0}
    )
    run = tm.run(recipe, tmp_path / "run")
    weights = [
        np.array(run.records(generation)["state of upvotes 2"]["voters"]["weights"])[:, 0]
        for generation in (0, 1, 2)
    ]
    # Everybody sees everything: voters with one taste each come nearer by a quarter.
    for generation, taste in enumerate(weights, start=1):
        assert np.ptp(taste) == pytest.approx(0.75**generation)
    people = ~np.array(run.records(1)["state of upvotes 2"]["voters"]["is_bot"])
    table = run.metrics
    rows = table[(table["metric"] == "taste") & (table["bin"] == "length(5)")]
    assert rows["value"].tolist()[1:] == pytest.approx([w[people].mean() for w in weights[:2]])

    check_resumed(run, tmp_path / "again", "gen-02", "gen-01/curate", "gen-01/evaluate")


def test_the_tastes_of_the_generation_before_are_in_the_key_of_a_stage(
    recipe: tm.Recipe, tmp_path: Path
):
    crowd = replace(CROWD, crowd=Crowd(drift=0.25))
    run = tm.run(recipe.replace(curate=[crowd], evaluate=[]), tmp_path / "run")
    manifest = json.loads((run.path / "gen-01" / "curate" / "manifest.json").read_text())
    before = json.loads((run.path / "gen-00" / "curate" / "manifest.json").read_text())
    assert "records.json" in before["files"]
    (digest,) = manifest["inputs"]["earlier"]
    changed = {**before["files"], "records.json": "0" * 64}
    folder = RunFolder(run.path)
    of_stage = folder.manifest("curate", 0)
    assert of_stage is not None
    assert digest == of_stage.digest
    assert replace(of_stage, files=changed).digest != digest
