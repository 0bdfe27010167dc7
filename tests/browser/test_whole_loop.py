"""recipes/people-vote from its beginning to its end, with a simulated rater in a real browser."""

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
from tests.people_runs import check_replay

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


def test_one_rater_in_a_browser_takes_the_recipe_from_generation_to_generation(
    textmad: Callable[..., Answer], join: Callable, tmp_path: Path
):
    out, port = tmp_path / "run", free_port()
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
    check_replay(textmad, RECIPE, out, tmp_path, num_ballots=3)
