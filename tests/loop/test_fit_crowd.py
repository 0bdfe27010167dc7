"""A simulated crowd that is fitted to people's votes, and a run with it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import textmad as tm
from tests.command_line import Answer
from tests.people_runs import settings_of_words
from textmad.analysis.people import PeoplesVotes, compare_scorers, fit_to_people
from textmad.curation.scorers import hdd
from textmad.errors import RunError
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES

NOISE, STRICTNESS, NUM_RATERS = 0.6, 0.4, 12


def recipe_with(tmp_path: Path, curate: object) -> Path:
    """One generation of a distribution over words; its texts repeat words to different degrees."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(300):
        words = [f"w{i}" for i in rng.zipf(1.5, 14) % 40]
        lines.append(json.dumps({"text": " ".join(words)}) + "\n")
    corpus = tmp_path / "human.jsonl"
    corpus.write_text("".join(lines))
    path = tmp_path / "recipe.yaml"
    settings = settings_of_words(
        corpus,
        generations=0,
        mix={"model_tokens": 600},
        sample={"min_tokens": 600, "oversample": 6.0},
        curate=curate,
    )
    path.write_text(json.dumps(settings))
    return path


def asking(design: str) -> dict[str, object]:
    """The filter `people` with a design."""
    ballot = {"raters_per_text": 3, "texts_per_rater": None, "design": design}
    return {"people": {"keep": 0.5, "ballot": ballot}}


def run_with_known_crowd(
    tmp_path: Path, asks: dict[str, object], errors: str = "logistic"
) -> tm.Run:
    """Run to the end; the raters vote by variety with known noise and strictness."""
    recipe = tm.load_recipe(recipe_with(tmp_path, [asks]))
    with pytest.raises(tm.WaitingForVotesError):
        tm.run(recipe, tmp_path / "run")
    ballots = Ballots(tmp_path / "run" / VOTES)
    texts = list(dict.fromkeys(text for item in ballots.items() for text in item.texts))
    variety = np.array(
        [hdd(text.casefold().split(), 10) for item in ballots.items() for text in item.texts]
    )
    quality = {t: (hdd(t.casefold().split(), 10) - variety.mean()) / variety.std() for t in texts}
    rng = np.random.default_rng(1)
    ballots.raters.invite(NUM_RATERS)
    waiting = ballots.raters.names()
    while waiting:
        rater = waiting.pop(0)
        task = ballots.voting.next_task(rater)
        if task is None:
            continue
        waiting.append(rater)
        draw = rng.logistic if errors == "logistic" else rng.gumbel
        perceived = [quality[text] + NOISE * draw() for text in task.texts]
        choice = (
            int(perceived[0] >= STRICTNESS) if len(perceived) == 1 else int(np.argmax(perceived))
        )
        ballots.voting.cast(rater, task.key, choice)
    ballots.close()
    return tm.run(recipe, tmp_path / "run")


def test_votes_with_known_settings_give_them_back_and_a_run_with_the_fitted_crowd(
    textmad: Callable[..., Answer], tmp_path: Path
):
    run = run_with_known_crowd(tmp_path, asking("up_down"))
    people = PeoplesVotes(run)
    assert len(people.votes.mark) == 3 * len(people.texts)
    fit = fit_to_people(people, ["variety"])
    assert fit.noise.low <= NOISE <= fit.noise.high
    assert fit.strictness.low <= STRICTNESS <= fit.strictness.high
    assert fit.noise.high - fit.noise.low < 0.5  # the votes tell something
    assert fit.weights[0].value == 1.0

    rows = {row.scorer: row for row in compare_scorers(people)}
    assert rows["variety"].prediction.auc_low > 0.6
    assert rows["learned_votes"].prediction is None
    assert "votes" in rows["learned_votes"].reason  # the human text has none
    best = max((r for r in rows.values() if r.prediction), key=lambda r: r.prediction.auc)
    assert best.scorer == "variety"  # by which they voted

    answer = textmad("fit-crowd", run.path, "--scorer", "variety")
    assert answer.code == 0, answer.err
    fitted = yaml.safe_load(answer.out.partition("for a recipe:\n")[2])
    options = fitted["curate"][0]["upvotes"]
    assert options["noise"] == round(fit.noise.value, 3)
    assert options["voters"] == 3
    assert options["keep"] == 0.5
    recipe = recipe_with(tmp_path, fitted["curate"])
    simulated = tm.run(tm.load_recipe(recipe), tmp_path / "simulated")
    # The same texts, voted on by the fitted crowd: as many upvotes, within four standard errors.
    shares = [
        np.mean([ups / 3 for ups in each.candidates(0)["ups"][:]]) for each in (run, simulated)
    ]
    num_votes = 3 * len(people.texts)
    assert abs(shares[0] - shares[1]) < 4 * np.sqrt(2 * 0.25 / num_votes)


@pytest.mark.parametrize(
    ("asks", "errors"),
    [
        (asking("pairs"), "logistic"),
        (asking("best_of"), "logistic"),
        (
            {
                "author": {
                    "drafts": 3,
                    "chosen_by": "people",
                    "ballot": {"design": "best_of", "group": 3, "texts_per_rater": None},
                }
            },
            "gumbel",
        ),
    ],
    ids=["pairs", "best_of", "author"],
)
def test_choices_with_a_known_noise_give_it_back_and_a_filter_for_a_recipe(
    textmad: Callable[..., Answer], tmp_path: Path, asks: dict[str, object], errors: str
):
    run = run_with_known_crowd(tmp_path, asks, errors)
    people = PeoplesVotes(run)
    fit = fit_to_people(people, ["variety"])
    assert fit.noise.low <= NOISE <= fit.noise.high
    assert fit.noise.high - fit.noise.low < 0.5
    (row,) = compare_scorers(people, ["variety"])
    assert row.prediction is not None
    assert row.prediction.auc_low > 0.6

    answer = textmad("fit-crowd", run.path, "--scorer", "variety")
    assert answer.code == 0, answer.err
    assert "strictness" not in answer.out  # comparisons do not tell it
    fitted = yaml.safe_load(answer.out.partition("for a recipe:\n")[2])["curate"]
    ((name, options),) = fitted[0].items()
    assert name == ("author" if "author" in asks else "upvotes")
    assert options["noise"] == round(fit.noise.value, 3)
    assert tm.run(tm.load_recipe(recipe_with(tmp_path, fitted)), tmp_path / "simulated").complete


def test_single_texts_and_pairs_at_once_and_runs_without_people_are_errors(tmp_path: Path):
    run = run_with_known_crowd(tmp_path, asking("pairs"))
    people = PeoplesVotes(run)
    pair, single = people.ballots[0], Ballot()
    people.__dict__["_askers"] = [("people", pair), ("people", single)]
    del people.__dict__["ballots"]
    with pytest.raises(RunError, match=r"people voted by pairs, up_down: expected designs that"):
        fit_to_people(people, ["variety"])
    other = tm.run(tm.load_recipe(recipe_with(tmp_path, ["length"])), tmp_path / "none")
    with pytest.raises(RunError, match="no generation has learned from people's votes"):
        PeoplesVotes(other)


def test_a_scorer_that_is_none_is_rejected_by_the_option(textmad, tmp_path: Path):
    answer = textmad("fit-crowd", tmp_path, "--scorer", "wit")
    assert (answer.code, "--scorer wit: " in answer.err) == (2, True)
