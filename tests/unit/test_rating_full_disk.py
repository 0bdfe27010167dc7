"""A disk that is really full under the server: votes are refused, none is lost, and it goes on."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.simulated_raters import Browser
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES

ROOT = Path(__file__).parents[2]
NUM_TEXTS = 40
REFUSED = "Your vote could not be saved, so it is not counted. Please tell the organiser."

SERVER = """
import sys, pathlib
from textmad.rating.ballots import Ballots
from textmad.rating.page.server import serve
say = lambda text: print(text, flush=True)
serve(Ballots(pathlib.Path(sys.argv[1])), port=0, tell=say, warn=say, votes_per_minute=1e6)
"""


class FullFolder:
    """A small disk of its own, filled by a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, server: int) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (65_536, 4_096, 1):  # to the last byte
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def make_space(self, server: int) -> None:
        self._ballast.unlink()


class LimitedFiles:
    """Any folder, and a server that may write files only up to the size that they have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: int) -> None:
        sizes = [path.stat().st_size for path in self.folder.iterdir()]
        resource.prlimit(server, resource.RLIMIT_FSIZE, (max(sizes), resource.RLIM_INFINITY))

    def make_space(self, server: int) -> None:
        resource.prlimit(server, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


@pytest.fixture(params=["full disk", "limited files"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FullFolder | LimitedFiles]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "limited files":
        yield LimitedFiles(folder)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        yield FullFolder(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def serving(file: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own: its address, and the process."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip(), server
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


class Rater:
    """A browser that remembers which of its votes the page acknowledged."""

    def __init__(self, url: str, token: str) -> None:
        self._browser = Browser(url)
        _, self._page = self._browser.join(token)
        self.acknowledged: list[str] = []

    def vote(self) -> tuple[int, str]:
        """Send the form that is shown; keep it if it is refused."""
        fields = {**self._page.form("/vote")["fields"], "choice": "1"}
        status, page = self._browser.request("POST", "/vote", fields)
        if status == 200:
            self.acknowledged.append(fields["key"])
            self._page = page
        return status, page.text

    @property
    def is_done(self) -> bool:
        return self._page.form("/vote") is None


def vote_until(raters: list[Rater], end: Callable[[int], bool]) -> tuple[int, str]:
    """Let the raters vote in turn until an answer's status is the end."""
    for number in range(len(raters) * NUM_TEXTS):
        status, text = raters[number % len(raters)].vote()
        if end(status):
            return status, text
    raise AssertionError("the disk took all votes")


def test_a_full_disk_refuses_votes_loses_none_and_goes_on_with_space(
    disk: FullFolder | LimitedFiles,
):
    file = disk.folder / VOTES
    ballots = Ballots(file)
    name = ballots.lay_out(
        Ballot(raters_per_text=2, texts_per_rater=None),
        *(0, [f"g0-{i}" for i in range(NUM_TEXTS)], [f"text {i}" for i in range(NUM_TEXTS)]),
        np.random.default_rng(0),
    )
    tokens = ballots.raters.invite(2)
    ballots.close()
    with serving(file) as (url, server):
        raters = [Rater(url, token) for token in tokens]
        for rater in raters:
            assert rater.vote()[0] == 200
        disk.fill(server.pid)
        status, text = vote_until(raters, lambda status: status != 200)
        assert (status, REFUSED in text) == (507, True)
        refused = [rater.vote() for rater in raters for _ in range(3)]
        assert {status for status, _ in refused} == {507}
        assert server.poll() is None  # it stays
        assert server.stdout is not None
        told = server.stdout.readline()
        assert "people's votes cannot be read or written" in told
        assert "free some space" in told

        # All that was acknowledged is there, and nothing else.
        before = sum(len(rater.acknowledged) for rater in raters)
        disk.make_space(server.pid)
        again = Ballots(file)
        assert len(again.votes(name)) == before
        again.close()

        # The form that was refused counts now, and the raters go on to the last text.
        for rater in raters:
            while not rater.is_done:
                assert rater.vote()[0] == 200
    after = Ballots(file)
    votes = after.votes(name)
    assert len(votes) == 2 * NUM_TEXTS == sum(len(rater.acknowledged) for rater in raters)
    with after._database.read() as db:
        used = {row[0] for row in db.execute("SELECT key FROM used_keys")}
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert {key for rater in raters for key in rater.acknowledged} == used
    assert after.state(name).is_enough
    after.close()
