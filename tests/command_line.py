"""The program called in this process, as a test's fixture `textmad` does it."""

import signal
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from textmad import cli

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Yield a function that calls `main` with its arguments; restore the signal handlers after."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["textmad", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        return Answer(int(left.value.code or 0), *capsys.readouterr())

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
