"""The adversarial pair in the whole loop: a discriminator, two juries, and a generator that learns
by preference from its verdicts."""

from pathlib import Path

import pytest

import textmad as tm
from tests.run_contents import check_resumed
from textmad.curation import Discriminator, Jury, Upvotes


@pytest.fixture(scope="module")
def run(short_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    recipe = short_recipe.replace(
        generations=1,
        sample={"oversample": 8.0},
        curate=[
            Jury("held_out", Upvotes({"variety": 1.0}, voters=9), documents=20),
            Discriminator(
                keep=0.4,
                votes=Upvotes(voters=9, keep=0.5),
                budget=40,
                check=20,
                learn_from="latest",
                against_human=0.5,
                human_check=30,
            ),
        ],
        train={
            "preference": {
                "labels": "discriminator",
                "learning_rate": 1e-3,
                "instead_of_imitation": True,
            }
        },
        evaluate=["adversary"],
    )
    return tm.run(recipe, tmp_path_factory.mktemp("adversary") / "run")


def test_the_generator_learns_the_discriminators_verdicts_and_nothing_else(run: tm.Run):
    candidates = run.candidates(0).to_pandas()
    learned = run.preference(1)
    assert learned is not None
    assert learned["accepted"] == candidates["discriminator_accepts"].sum()
    assert learned["rejected"] == (~candidates["discriminator_accepts"].astype(bool)).sum()
    assert len(run.curve(1)) == 0


def test_the_discriminator_learns_votes_on_new_text_and_human_against_model_text(run: tm.Run):
    for generation in (0, 1):
        table = run.candidates(generation).to_pandas()
        assert (table["crowd_accepts"] != 0).sum() == 40
        # Half of the training examples are 20 human documents and 20 candidates.
        assert set(table["lessons"]) == {80}


def test_whom_the_text_pleases_is_measured_in_each_generation(run: tm.Run):
    metrics = run.metrics.set_index(["generation", "metric", "bin"])["value"]
    for generation in (0, 1):
        table = run.candidates(generation).to_pandas()
        beats = {
            judge: table[f"beats_human_{judge}"].dropna().mean()
            for judge in ("discriminator", "held_out")
        }
        assert table["beats_human_held_out"].notna().sum() == 20
        for judge, value in beats.items():
            assert metrics[generation, "beats_human", judge] == pytest.approx(value)
        gap = beats["discriminator"] - beats["held_out"]
        assert metrics[generation, "over_optimisation_gap", ""] == pytest.approx(gap)


def test_a_resumed_run_has_the_same_bytes(run: tm.Run, tmp_path: Path):
    check_resumed(run, tmp_path / "run", "gen-01", "gen-00/curate", "gen-00/evaluate")
