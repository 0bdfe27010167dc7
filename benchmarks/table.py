"""Results as a table, as JSON, and as rows of docs/benchmarks.md."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.suite import Result

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "numpy")
HEADER = """\
| what | side | tokens/s (lowest to highest) | ours is | peak memory | of the limit |
| --- | --- | ---: | ---: | ---: | ---: |"""


def rows(results: Sequence[Result]) -> list[str]:
    """A Markdown row each, the machine's own among them."""
    return [_machine_row(r) if r.side == "machine" else _row(r) for r in results]


def handbook_rows(results: Sequence[Result], facts: dict[str, Any]) -> list[str]:
    """Rows of docs/benchmarks.md: date, what, result, command, machine, versions."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    found = []
    for result in results:
        if result.side == "machine":
            continue
        speed = f"{result.measured.rate:,.0f} tokens/s"
        parts = [speed, _memory(result), _share(result) and f"{_share(result)} of the limit"]
        if result.ratio is not None:
            parts.insert(1, f"ours is {result.ratio:.2f} x")
        what = f"{result.part}: {result.case}; {result.side}"
        cells = [facts["date"], what, ", ".join(filter(None, parts)), f"`{facts['command']}`"]
        found.append("| " + " | ".join([*cells, facts["machine"], versions]) + " |")
    return found


def to_json(results: Sequence[Result], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything, as plain data; NaN, which JSON has not, as null."""
    listed = [
        {
            **result._asdict(),
            "measured": {
                "rate": result.measured.rate,
                "peak_bytes": _number(result.measured.peak_bytes),
                "turns": [turn._asdict() for turn in result.measured.turns],
            },
        }
        for result in results
    ]
    return {**facts, "results": listed}


def facts_of_this_run(device: str) -> dict[str, Any]:
    """Date, command, machine and versions. Asks a child for the GPU's name, which torch knows."""
    from benchmarks.sides import call

    gpu = call("torch.cuda:get_device_name") if device == "cuda" else None
    load = os.getloadavg()[0]
    machine = [_processor(), f"{os.cpu_count()} cores", *([gpu] if gpu else [])]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["scripts/bench", *sys.argv[1:]]),
        "machine": f"{', '.join(machine)}, load {load:.1f} at the start",
        "versions": {"python": platform.python_version(), **versions},
    }


def append(path: Path, lines: Sequence[str]) -> None:
    """Add rows behind a page's last table."""
    text = path.read_text(encoding="utf-8").rstrip("\n")
    path.write_text("\n".join([text, *lines]) + "\n", encoding="utf-8")


def _row(result: Result) -> str:
    rates = result.measured.rates
    facts = result.measured.turns[-1].facts
    loss = next((f"; {n.replace('_', ' ')} {facts[n]:.3f}" for n in facts if "loss" in n), "")
    cells = [
        f"{result.part}: {result.case}",
        result.side + loss,
        f"{result.measured.rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        f"{result.ratio:.2f} x" if result.ratio is not None else "",
        _memory(result),
        _share(result),
    ]
    return "| " + " | ".join(cells) + " |"


def _machine_row(result: Result) -> str:
    flops, bandwidth = (result.measured.fact(name) / 1e9 for name in ("flops", "bandwidth"))
    limit = f"{flops:,.0f} GFLOP/s, {bandwidth:,.1f} GB/s"
    return f"| {result.part}: {result.case} | the machine's limit | {limit} | | | |"


def _memory(result: Result) -> str:
    peak = result.measured.peak_bytes
    return "" if math.isnan(peak) else f"{peak / 1e6:,.0f} MB"


def _share(result: Result) -> str:
    return "" if result.limit_share is None else f"{result.limit_share:.0%}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
