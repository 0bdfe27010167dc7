"""The page of `textmad rate` under load: votes lost and doubled, latency, memory of the server.

python scripts/people_load.py --raters 200 --votes 50 --think 2
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import uniform

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.simulated_raters import Browser  # noqa: E402
from textmad.rating.ballot import Ballot  # noqa: E402
from textmad.rating.ballots import Ballots  # noqa: E402
from textmad.rating.database import VOTES  # noqa: E402

SERVER = """
import pathlib, sys
from textmad.rating.ballots import Ballots
from textmad.rating.page.server import serve
serve(Ballots(pathlib.Path(sys.argv[1])), port=0, tell=lambda url: print(url, flush=True))
"""


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def rate(url: str, token: str, num_votes: int, think: float) -> list[float]:
    """Vote as one rater; return the seconds from each vote to the page with the next text."""
    browser = Browser(url)
    _, page = browser.join(token)
    seconds = []
    for _ in range(num_votes):
        time.sleep(uniform(0, 2 * think))
        fields = {**page.form("/vote")["fields"], "choice": "1"}
        begun = time.perf_counter()
        status, page = browser.request("POST", "/vote", fields)
        seconds.append(time.perf_counter() - begun)
        assert status == 200, page.text
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--raters", type=int, default=200)
    options.add_argument("--votes", type=int, default=50)
    options.add_argument("--think", type=float, default=2.0, help="mean seconds before a vote")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOTES
        ballots = Ballots(path)
        texts = [f"text {i} " + "and some more words " * 5 for i in range(2000)]
        settings = Ballot(raters_per_text=1 + 2 * given.raters * given.votes // 2000)
        begun = time.perf_counter()
        ids = [f"g0-{i}" for i in range(2000)]
        name = ballots.lay_out(settings, 0, ids, texts, np.random.default_rng(0))
        laid_out = time.perf_counter() - begun
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
        Browser(url).request("GET", "/")
        idle = memory_mb(server.pid)
        begun = time.perf_counter()
        with ThreadPoolExecutor(given.raters) as pool:
            jobs = [pool.submit(rate, url, token, given.votes, given.think) for token in tokens]
            seconds = np.array([each for job in jobs for each in job.result()])
        total = time.perf_counter() - begun
        busy = memory_mb(server.pid)
        server.send_signal(signal.SIGKILL)
        server.wait()
        votes = ballots.votes(name)
        different = len({(vote.rater, vote.item) for vote in votes})
        result = {
            "votes": len(votes),
            "lost": len(seconds) - different,
            "doubled": len(votes) - different,
            "seconds": round(total, 1),
            "median_ms": round(1000 * float(np.median(seconds)), 1),
            "p99_ms": round(1000 * float(np.quantile(seconds, 0.99)), 1),
            "server_idle_mb": round(idle),
            "server_busy_mb": round(busy),
            "lay_out_2000_s": round(laid_out, 2),
            "load": os.getloadavg()[0],
        }
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
