"""A process of the local pool: `python -m textmad.studies.worker`, which is not for people.

It reads one job from stdin, a line of JSON, and writes one answer to stdout: `{}`, or the kind and
the message of the error that the run ended in.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from textmad.progress import PlainProgress
from textmad.studies.engines import Job, compute


def main() -> None:
    """A worker's whole life."""
    answer_to = os.dup(1)
    os.dup2(2, 1)  # what filters print goes to the log
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    error = compute(job, PlainProgress())
    answer = {} if error is None else {"kind": type(error).__name__, "message": str(error)}
    os.write(answer_to, json.dumps(answer).encode())


def _end_with_the_study() -> None:
    """Leave at once when stdin ends: what is committed is whole, and all locks go with us."""
    while os.read(0, 1):  # not sys.stdin, which Python could not close while this thread reads it
        pass
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
