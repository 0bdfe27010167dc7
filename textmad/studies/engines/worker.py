"""Compute runs of a study in a process of its own: `python -m textmad.studies.engines.worker`.

Of the local pool, it reads jobs from stdin, a line of JSON each. On stdout it writes a line for
each stage that the run has done, and one at its end: `{}`, or the kind and the message of the error
that the run ended in. As a Slurm task it is given the study's folder and the name of its one run,
and its exit code is the error's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO, cast

from textmad.errors import TextmadError
from textmad.progress import PlainProgress
from textmad.studies.engines.local import STAGE, Job, answer, compute, write_to_log
from textmad.studies.engines.slurm import recorded_job
from textmad.threads import limit_spinning


def main(arguments: list[str]) -> None:
    """One run, or one after another from stdin."""
    limit_spinning()
    if arguments:
        sys.exit(_task(Path(arguments[0]), arguments[1]))
    _answer_jobs()


def _task(path: Path, name: str) -> int:
    """Compute the run of this name; the exit code."""
    try:
        error = compute(recorded_job(path, name), PlainProgress())
    except TextmadError as unusable:
        error = unusable
    if error is None:
        return 0
    print(f"textmad: {error}", file=sys.stderr)
    return error.exit_code


def _answer_jobs() -> None:
    """A worker's whole life, which ends with stdin."""
    answer_to = os.dup(1)
    jobs: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        job = Job(**json.loads(jobs.get()))
        write_to_log(job)
        progress = PlainProgress(cast(TextIO, _LogAndParent(answer_to)))
        _say(answer_to, answer(compute(job, progress)))


class _LogAndParent:
    """The run's log, of whose lines the process that gave the run is told too."""

    def __init__(self, answer_to: int) -> None:
        self._answer_to, self._line = answer_to, ""

    def write(self, text: str) -> int:
        self._line += text
        if self._line.endswith("\n"):
            _say(self._answer_to, {STAGE: self._line.rstrip("\n")})
            self._line = ""
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _say(answer_to: int, message: dict[str, str]) -> None:
    os.write(answer_to, json.dumps(message).encode() + b"\n")


def _listen(jobs: SimpleQueue[bytes]) -> None:
    """Leave at once when stdin ends: what is committed is whole, and all locks go with us."""
    with os.fdopen(os.dup(0), "rb") as lines:  # not sys.stdin, which Python closes at its end
        for line in lines:
            jobs.put(line)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
