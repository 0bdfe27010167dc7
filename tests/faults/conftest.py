"""The sweeps, each batch in a process of its own."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")


@pytest.fixture
def sweep(tmp_path: Path, record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """`sweep(kind=every, ...)`: try every so-manieth case of each kind, and print the counts."""
    if platform.machine() != "x86_64" or "user_notif" not in _ACTIONS.read_text():
        pytest.skip("needs Linux 5.5 or later on x86-64, where system calls can be intercepted")

    def run(wanted: dict[str, int], fewest: int) -> None:
        arguments = [f"{kind}={every}" for kind, every in wanted.items()]
        answer = subprocess.run(
            [sys.executable, "-m", "tests.faults.sweeps", str(tmp_path), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout)
        faults = []
        for kind, outcome in found.items():
            record_property(
                "counts",
                f"{kind}: {outcome['cases']:,} cases: {outcome['same']:,} the same, "
                f"{outcome['rejected']:,} rejected, {len(outcome['faults']):,} faults; "
                f"{outcome['seconds']:.0f} s, {outcome['processor_seconds']:.0f} s of a processor",
            )
            faults += [f"{kind}: {fault}" for fault in outcome["faults"]]
            assert outcome["same"] + outcome["rejected"] + len(faults) >= fewest
        assert not faults, "\n".join(faults)

    return run
