"""A process of the local pool: `python -m textmad.studies.worker`, which is not for people.

It reads jobs from stdin, a line of JSON each, and answers each with a line on stdout: `{}`, or the
kind and the message of the error that the run ended in.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from queue import SimpleQueue

from textmad.progress import PlainProgress
from textmad.studies.engines import Job, compute


def main() -> None:
    """A worker's whole life, which ends with stdin."""
    answer_to = os.dup(1)
    jobs: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        job = Job(**json.loads(jobs.get()))
        _write_to_log(job)
        error = compute(job, PlainProgress())
        answer = {} if error is None else {"kind": type(error).__name__, "message": str(error)}
        os.write(answer_to, json.dumps(answer).encode() + b"\n")


def _listen(jobs: SimpleQueue[bytes]) -> None:
    """Leave at once when stdin ends: what is committed is whole, and all locks go with us."""
    with os.fdopen(os.dup(0), "rb") as lines:  # not sys.stdin, which Python closes at its end
        for line in lines:
            jobs.put(line)
    os._exit(128 + signal.SIGTERM)


def _write_to_log(job: Job) -> None:
    """Whatever is said from here on, what filters print too."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)


if __name__ == "__main__":
    main()
