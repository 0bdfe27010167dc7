"""A study whose runs wait for people: one page for all arms, and no run counts as failed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import textmad as tm
from tests.command_line import Answer
from tests.people_runs import settings_of_words, write_words
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """Two arms and one that needs no people, on a distribution over words, which costs nothing."""
    recipe = settings_of_words(write_words(tmp_path))
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    people = {"people": {"keep": 0.5, "ballot": {"raters_per_text": 1, "texts_per_rater": None}}}
    study = {
        "recipe": "recipe.yaml",
        "seeds": [0],
        "controls": False,
        "arms": {
            "voted": {"curate": [people]},
            "hot": {"curate": [people], "sample.temperature": 1.5},
            "random": {"curate": [{"random": {"keep": 0.5}}]},
        },
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(study))
    return path


def vote_on_all(study: Path) -> list[str]:
    """Vote on whatever the page of a study shows; return the ballots in the order of the votes."""
    ballots = Ballots(study / VOTES, must_exist=True)
    if not ballots.raters.names():
        ballots.raters.invite(1)
    while (task := ballots.voting.next_task("r001")) is not None:
        ballots.voting.cast("r001", task.key, sum(map(ord, task.texts[0])) % 2)
    votes = [vote for state in ballots.states() for vote in ballots.votes(state.ballot)]
    ballots.close()
    return [vote.ballot for vote in sorted(votes, key=lambda vote: vote.cast_at)]


def ballots_of(study: Path, arm: str) -> list[str]:
    """The ballots that an arm waits for or learned from."""
    states = Ballots(study / VOTES, must_exist=True).states()
    return [state.ballot for state in states if f"{arm}/seed-0" in state.runs]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_study_says_which_runs_wait_for_votes_and_goes_on_when_they_are_there(
    textmad: Callable[..., Answer], study_file: Path, tmp_path: Path, jobs: int
):
    out = tmp_path / "study"
    command = ("study", study_file, "--out", out, "--jobs", jobs)
    for generation in (0, 1):
        waiting = textmad(*command)
        assert waiting.code == 7
        assert f"2 of 3 runs wait for people's votes: vote with `textmad rate {out}`" in waiting.err
        assert waiting.out.count("waiting for votes") == 2  # of the table, a line a run
        assert waiting.out.count("finished") == 1
        assert "failed" not in waiting.out + waiting.err
        asked = vote_on_all(out)
        open_ballots = {s.ballot for s in Ballots(out / VOTES).states() if s.digest is None}
        assert len(open_ballots) == 2
        first = next(i for i, ballot in enumerate(asked) if ballot in open_ballots)
        assert set(asked[first : first + 2]) == open_ballots  # one text of each arm in turn
        shown = textmad("votes", out).out
        assert shown.count(f"generation {generation}") == 2
        for arm in ("voted", "hot"):
            (line,) = [x for x in shown.splitlines() if x.startswith(f"{arm}/seed-0 ")]
            asked_of_arm = asked.count(next(b for b in open_ballots if b in ballots_of(out, arm)))
            assert line.split()[1:] == [str(generation), *[str(asked_of_arm)] * 2, "enough"]
        assert "random/" not in shown  # it asks nobody
    assert textmad(*command).code == 0
    for arm in ("voted", "hot"):
        run = tm.Run(out / "runs" / arm / "seed-0")
        assert run.complete
        assert not (run.path / VOTES).exists()
        assert set(run.candidates(1)["exposure"][:]) == {1}
    # A run that is there asks nobody again.
    (out / VOTES).unlink()
    assert textmad(*command).code == 0


def test_a_run_that_failed_decides_the_exit_code_and_the_table_tells_it_from_those_that_wait(
    textmad: Callable[..., Answer], study_file: Path, tmp_path: Path
):
    study = json.loads(study_file.read_text())
    study["arms"]["broken"] = {
        "curate": [{"length": {"min_words": 1000, "max_words": 2000}}]  # keeps nothing
    }
    study_file.write_text(json.dumps(study))
    answer = textmad("study", study_file, "--out", tmp_path / "study")
    assert answer.code not in (0, 7)
    assert "1 of 4 runs failed" in answer.err
    assert answer.out.count("waiting for votes") == 2
    assert answer.out.count(" failed ") == 1
