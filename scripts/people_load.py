"""The page of `textmad rate` under load: votes lost and doubled, latency, the server's needs.

python scripts/people_load.py --raters 200 --votes 50 --think 2

Lays out 20,000 texts, starts the real server on them, and lets raters vote over HTTP, each over
a connection of their own. The clients are one process with one thread, so that they take little
from the server. A vote lasts from the click to the page with the next text. Also prints the median
of 100 fsync calls on the same disk: a vote waits for one or two of them.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import uniform
from urllib.parse import urlencode, urlsplit

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from textmad.rating.ballot import Ballot  # noqa: E402
from textmad.rating.ballots import Ballots  # noqa: E402
from textmad.rating.database import VOTES  # noqa: E402

NUM_TEXTS = 20_000
TEXT = " and some more words" * 20
SERVER = """
import pathlib, sys
from textmad.rating.ballots import Ballots
from textmad.rating.page.server import serve
serve(Ballots(pathlib.Path(sys.argv[1])), port=0, tell=lambda url: print(url, flush=True))
"""


class Connection:
    """One rater's connection, which stays open, and their cookie."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._cookie = ""

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def request(self, method: str, path: str, fields: dict[str, str] | None = None) -> str:
        """Return the page that a request ends in, after its redirect."""
        body = urlencode(fields or {}).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nCookie: {self._cookie}\r\n"
        form = "Content-Type: application/x-www-form-urlencoded\r\n"
        self._writer.write(f"{head}{form}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        page = await self._reader.readexactly(int(headers.get("content-length", 0)))
        if "set-cookie" in headers:
            cookie = next(line for line in lines if line.lower().startswith("set-cookie"))
            self._cookie = cookie.split(": ", 1)[1].split(";")[0]
        status = int(lines[0].split()[1])
        if status == 303:
            return await self.request("GET", headers["location"])
        assert status == 200, (status, page)
        return page.decode()


async def rate(url: str, token: str, num_votes: int, think: float) -> list[float]:
    """Vote as one rater; return the seconds of each vote."""
    connection = Connection(url)
    await asyncio.sleep(uniform(0, 2 * think))
    await connection.open()
    page = await connection.request("POST", f"/join/{token}")
    seconds = []
    for _ in range(num_votes):
        await asyncio.sleep(uniform(0, 2 * think))
        (key,) = set(re.findall(r'name="key" value="([^"]+)"', page))
        begun = time.perf_counter()
        page = await connection.request("POST", "/vote", {"key": key, "choice": "1"})
        seconds.append(time.perf_counter() - begun)
    return seconds


async def rate_together(url: str, tokens: list[str], votes: int, think: float) -> list[float]:
    """Let all raters vote at once; return the seconds of each vote."""
    each = await asyncio.gather(*(rate(url, token, votes, think) for token in tokens))
    return [seconds for rater in each for seconds in rater]


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def cpu_seconds(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fsync_ms(folder: Path) -> float:
    """Median of 100 waits for the disk."""
    seconds = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    return 1000 * float(np.median(seconds))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--raters", type=int, default=200)
    options.add_argument("--votes", type=int, default=50)
    options.add_argument("--think", type=float, default=2.0, help="mean seconds before a vote")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOTES
        ballots = Ballots(path)
        texts = [f"text {i}{TEXT}" for i in range(NUM_TEXTS)]
        ids = [f"g0-{i}" for i in range(NUM_TEXTS)]
        begun, begun_cpu = time.perf_counter(), time.process_time()
        name = ballots.lay_out(Ballot(), 0, ids, texts, np.random.default_rng(0))
        laid_out = time.perf_counter() - begun, time.process_time() - begun_cpu
        tokens = ballots.raters.invite(given.raters)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        idle, begun_cpu = memory_mb(server.pid), cpu_seconds(server.pid)
        begun = time.perf_counter()
        each = asyncio.run(rate_together(url, tokens, given.votes, given.think))
        total = time.perf_counter() - begun
        cpu = cpu_seconds(server.pid) - begun_cpu
        busy = memory_mb(server.pid)
        server.send_signal(signal.SIGKILL)
        server.wait()
        seconds, votes = np.array(each), ballots.votes(name)
        different = len({(vote.rater, vote.item) for vote in votes})
        result = {
            "votes": len(votes),
            "lost": len(seconds) - different,
            "doubled": len(votes) - different,
            "seconds": round(total, 1),
            "median_ms": round(1000 * float(np.median(seconds)), 1),
            "p99_ms": round(1000 * float(np.quantile(seconds, 0.99)), 1),
            "server_cpu_ms_a_vote": round(1000 * cpu / len(votes), 2),
            "server_idle_mb": round(idle),
            "server_busy_mb": round(busy),
            "lay_out_20000_s": round(laid_out[0], 2),
            "lay_out_20000_cpu_s": round(laid_out[1], 2),
            "fsync_median_ms": round(fsync_ms(Path(folder)), 1),
            "load": os.getloadavg()[0],
        }
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
