"""Where people may stand in the loop: as author, as the discriminator's crowd, before a crawl."""

import json
from pathlib import Path

import pytest

import textmad as tm
from tests.people_runs import settings_of_words, write_words
from tests.simulated_raters import run_with_votes
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES


def recipe_of(folder: Path, **settings: object) -> tm.Recipe:
    """Three generations of a distribution over words, which costs nothing."""
    more = {"generations": 2, "sample": {"min_tokens": 60, "oversample": 5.0}} | settings
    return tm.Recipe(**settings_of_words(write_words(folder, 400), **more))


def texts_laid_out(run: tm.Run) -> list[str]:
    ballots = Ballots(run.path / VOTES)
    with ballots._database.read() as db:
        texts = [row[0] for row in db.execute("SELECT text FROM texts")]
    ballots.close()
    return texts


def votes_on(row: dict) -> list:
    return json.loads(row["people_votes"] or "[]")


def test_people_are_the_author_who_posts_the_best_of_several_drafts(tmp_path: Path):
    author = {"drafts": 3, "chosen_by": "people"}
    ballot = {"design": "best_of", "group": 3, "raters_per_text": 1, "question": "Post which?"}
    recipe = recipe_of(tmp_path, curate=[{"author": {**author, "ballot": ballot}}])
    run = run_with_votes(recipe, tmp_path / "run")
    for generation in range(3):
        rows = sorted(run.candidates(generation), key=lambda row: int(row["id"].split("-")[1]))
        for first in range(0, len(rows), 3):
            slot = rows[first : first + 3]
            chosen = [row["ups"] for row in slot]
            assert [row["kept"] for row in slot] == (
                [bool(up) for up in chosen] if len(slot) > 1 else [True]
            )
            assert sum(chosen) == (len(slot) > 1)  # a single draft is posted without a question
            assert {row["exposure"] for row in slot} == {int(len(slot) > 1)}
        assert {row["reason"] for row in rows if not row["kept"]} == {"another draft was posted"}
        assert all(len(votes_on(row)) == row["exposure"] for row in rows)


def test_a_discriminator_learns_from_the_peoples_votes_of_all_generations_so_far(tmp_path: Path):
    votes = {"voters": "people", "keep": 0.5, "ballot": {"raters_per_text": 1}}
    judge = {"keep": 0.5, "budget": 12, "check": 6, "votes": votes}
    run = run_with_votes(recipe_of(tmp_path, curate=[{"discriminator": judge}]), tmp_path / "run")
    for generation in range(3):
        table = run.candidates(generation)
        assert sum(said != 0 for said in table["crowd_accepts"][:]) == 12  # people see the budget
        assert sum(said != 0 for said in table["check_accepts"][:]) == 6
        assert len(table) > 18  # the discriminator judges the rest
        assert set(table["lessons"][:]) == {12 * (generation + 1)}
        for row in table:  # each single vote is frozen with what it decided
            was_asked = bool(row["crowd_accepts"] or row["check_accepts"])
            assert bool(votes_on(row)) == was_asked
            assert bool(row["votes_digest"]) == was_asked
        digests = {facts["digest"] for facts in run.records(generation).values()}
        assert digests == set(table["votes_digest"][:]) - {None}


def test_people_guard_a_crawl_and_see_human_and_model_text_without_a_label(tmp_path: Path):
    question = {"question": "Was this written by a person?", "labels": ["A machine", "A person"]}
    guard = {"people": {"keep": 0.5, "ballot": {**question, "raters_per_text": 1}}}
    recipe = recipe_of(
        tmp_path,
        mix={"human_tokens": 100, "model_tokens": 60, "human": "fresh"},
        crawl={"contamination": 0.5, "oversample": 2.2, "guard": [guard]},
        evaluate=["guards"],
    )
    run = run_with_votes(recipe, tmp_path / "run")
    shown = texts_laid_out(run)
    held_out = {row["text"] for row in run.held_out}
    for generation in (1, 2):
        crawl = run.crawl(generation)
        assert set(crawl["true_origin"][:]) == {"human", "model"}
        assert set(crawl["text"][:]) <= set(shown)
        assert set(crawl["exposure"][:]) == {1}
        assert sum(crawl["kept"][:]) == round(0.5 * len(crawl))
        # Their votes decide, and the evaluator says how well they can tell.
        kept = [row["ups"] for row in crawl if row["kept"]]
        assert min(kept) >= max(row["ups"] for row in crawl if not row["kept"])
    assert held_out.isdisjoint(shown)
    accuracy = run.metrics[run.metrics["metric"].str.startswith("guard")]
    assert len(accuracy) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drafts": 3}, "ballot: shows 4 texts together, expected the 3 drafts"),
        ({"noise": 0.5}, "noise: has no effect while chosen_by is people"),
        ({"ballot": {"design": "best_of", "rounds": 1}}, "ballot.rounds: has no effect on drafts"),
        ({"ballot": {}}, "ballot: shows 1 texts together"),
        ({"chosen_by": "scorer"}, "ballot: has no effect while chosen_by is scorer"),
    ],
)
def test_settings_of_an_author_that_contradict_each_other_are_rejected(tmp_path, options, message):
    given = {"drafts": 4, "chosen_by": "people", "ballot": {"design": "best_of"}, **options}
    with pytest.raises(tm.RecipeError) as caught:
        recipe_of(tmp_path, curate=[{"author": given}]).filters()
    assert message in str(caught.value)
