"""Tests of textmad.threads."""

import os
import subprocess
import sys

import pytest

from textmad.studies.engines.local import pinned
from textmad.threads import waiting

PROGRAM = """
import os, sys
from {module} import main
try:
    {call}
except SystemExit:
    pass
print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
"""
COMMAND = PROGRAM.format(module="textmad.cli", call="sys.argv = ['textmad', '-h']; main()")
WORKER = PROGRAM.format(
    module="textmad.studies.engines.worker", call="main(['no-such-study', 'run'])"
)


def last_line(program: str, **variables: str) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("program", [COMMAND, WORKER])
def test_every_process_that_textmad_starts_bounds_the_spinning_before_torch_is_loaded(
    program: str,
) -> None:
    assert last_line(program) == "False 20000 None"


@pytest.mark.parametrize("program", [COMMAND, WORKER])
def test_what_the_user_has_set_stays(program: str) -> None:
    assert last_line(program, OMP_WAIT_POLICY="ACTIVE") == "False None ACTIVE"
    assert last_line(program, GOMP_SPINCOUNT="7") == "False 7 None"


def test_a_worker_elsewhere_is_given_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    assert pinned(2)["GOMP_SPINCOUNT"] == "20000"
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert "GOMP_SPINCOUNT" not in pinned(2)
    assert waiting({"KMP_BLOCKTIME": "0"}) == {}
