"""recipes/people-vote from its beginning to its end, with a simulated rater in a real browser."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import textmad as tm
from tests.browser_raters import PHONE
from tests.command_line import Answer
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/people-vote/recipe.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def likes(texts: list[str]) -> int:
    """The taste of the simulated rater: texts without a question."""
    return int("?" not in texts[0])


def files_of(run: Path) -> dict[str, bytes]:
    """What a run's stages consist of, but for the manifests, which name the folder's own inputs."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.glob("gen-*/*/*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_one_rater_in_a_browser_takes_the_recipe_from_generation_to_generation(
    textmad: Callable[..., Answer], join: Callable, tmp_path: Path
):
    out, again, port = tmp_path / "run", tmp_path / "again", free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "textmad", "run", str(RECIPE), "--out", str(out)),
            *("--serve", "--port", str(port)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "said.txt").open("w"),
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdout is not None
    try:
        link = process.stdout.readline().strip()
        assert link.startswith(f"http://127.0.0.1:{port}/join/")
        rater = join(link, **PHONE)
        votes = []
        for _ in range(3):
            # While the run computes the page waits, and shows the next texts by itself.
            rater.page.wait_for_selector("#vote", timeout=600_000)
            votes.append(rater.vote_on_all(likes))
            assert rater.page.locator("h1").inner_text() == "Thank you"
        assert process.wait(600) == 0, (tmp_path / "said.txt").read_text()
    finally:
        process.kill()
    run = tm.Run(out)
    assert run.complete
    for generation, number in enumerate(votes):
        candidates = run.candidates(generation)
        assert number == len(candidates)
        assert set(candidates["exposure"][:]) == {1}
        assert candidates["ups"][:] == [likes([text]) for text in candidates["text"][:]]

    # The frozen votes, imported into a run in another folder, give the same bytes.
    exported, part = tmp_path / "votes.jsonl", tmp_path / "part.jsonl"
    assert textmad("votes", out, "--export", exported).code == 0
    lines = exported.read_text().splitlines(keepends=True)
    for _ in range(3):
        assert textmad("run", RECIPE, "--out", again).code == 7
        ballots = Ballots(again / VOTES)
        known = {state.ballot for state in ballots.states() if not state.digest}
        ballots.close()
        part.write_text("".join(line for line in lines if json.loads(line)["ballot"] in known))
        assert textmad("votes", again, "--import", part).code == 0
    assert textmad("run", RECIPE, "--out", again).code == 0
    first, second = files_of(out), files_of(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
