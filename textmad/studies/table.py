"""How far a study is, as a table for people."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from textmad.studies.folder import RUNS, RunState, saved


def summary(runs: Sequence[RunState], path: Path) -> str:
    """A line a run, what sharing saved, and where to go on."""
    done = saved(path)
    lines = [_table(runs).rstrip()]
    if done.stages:
        lines.append(
            f"shared: {done.stages} of {done.of} stages were taken over from another run, "
            f"which saved {done.seconds:,.0f} s"
        )
    lines.append(f"runs: {path / RUNS}")
    if any(run.state == "finished" for run in runs):
        lines.append(f"compare them: textmad compare {path}")
    return "\n".join(lines)


def _table(runs: Sequence[RunState]) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("arm", "seed", "state", "generations", "seconds", "error"):
        is_number = heading in ("seed", "generations", "seconds")
        table.add_column(
            heading, justify="right" if is_number else "left", overflow="fold", highlight=False
        )
    for state in runs:
        table.add_row(
            state.run.arm,
            str(state.run.seed),
            state.state,
            f"{state.generations} of {state.run.recipe.generations + 1}",
            f"{state.seconds:,.1f}" if state.seconds else "",
            state.error.partition("\n")[0],
        )
    text = io.StringIO()
    width = max(80, shutil.get_terminal_size((120, 24)).columns)
    Console(file=text, width=width, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
