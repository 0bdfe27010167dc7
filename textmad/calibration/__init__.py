"""Check the loop against exact theory: run loops whose outcome is known, as any recipe is run.

A falling curve may be the fault of the loop and not of the models. So two toy models, fitted by
counting and by averaging, go through the same mixing, sampling, filters and stages as a language
model. Their outcome is compared with the exact expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textmad import studies
from textmad.calibration import populations, refits, tastes, votes
from textmad.calibration.checks import TITLES, Check, Measured, cells, summary, table
from textmad.calibration.loops import Loop
from textmad.loop.run import Run

__all__ = [
    "TITLES",
    "Check",
    "Loop",
    "Measured",
    "calibrate",
    "cells",
    "every_loop",
    "summary",
    "table",
]

# No evaluator runs: the checks read the models afterwards.
_BASE = {"evaluate": [], "sample": {"min_tokens": 1}}


def every_loop() -> list[Loop]:
    """Return the loops of claims A1 to A7."""
    return [
        refits.counts_refitted(),
        refits.numbers_refitted(bias=0.8),
        refits.numbers_refitted(bias=1.0),
        votes.chosen(votes.author, 2, kept=4000),
        votes.chosen(votes.author, 4, kept=4000),
        votes.chosen(votes.crowd, 4, kept=4000),
        votes.chosen(votes.author, 16, kept=2000),
        votes.chosen(votes.crowd, 64, kept=1300),
        votes.curated(votes.crowd, human_share=0.1, documents=900, generation=8),
        votes.curated(votes.author, human_share=0.0, documents=300, generation=6),
        votes.curated(votes.crowd, human_share=0.5, documents=400, generation=4),
        *map(tastes.plural, tastes.TARGETS),
        refits.replaced(),
        refits.accumulated(),
        refits.refreshed(bias=1.0, model=40),
        refits.refreshed(bias=0.7, model=10),
        refits.refreshed(bias=0.7, model=80, chains=1500, generation=6),
        populations.islands(migration=0.0),
        populations.islands(migration=0.1),
        populations.islands(migration=0.5, human=10),
    ]


def calibrate(
    out: str | Path,
    loops: Sequence[Loop] | None = None,
    *,
    jobs: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Check]:
    """Run or resume the loops in the folder `out`, and return the checks of their outcomes.

    >>> calibrate("runs/calibration")  # doctest: +SKIP

    Args:
        out: folder for the human text and for a study for each number of seeds.
        loops: all of them by default.
        jobs: runs side by side, each in a process of its own; 1 is this process.
        tell: told when a run begins or ends.

    Raises:
        TextmadError: a run failed; the other runs are complete.
    """
    loops, out = every_loop() if loops is None else loops, Path(out)
    arms: dict[int, dict[str, Any]] = {}  # by the number of seeds
    for loop in loops:
        arms.setdefault(loop.num_seeds, {})[loop.name] = loop.patch(out / "human")
    num_runs = sum(loop.num_seeds for loop in loops)
    tell(f"{len(loops)} loops, {num_runs} runs, in {len(arms)} studies")
    runs: dict[str, list[Run]] = {}
    for number, num_seeds in enumerate(sorted(arms), start=1):
        plan = {
            "recipe": _BASE,
            "seeds": list(range(num_seeds)),
            "arms": arms[num_seeds],
            "controls": False,  # the control is theory
        }
        runs |= studies.study(
            plan,
            out / f"seeds-{num_seeds}",
            jobs=jobs,
            tell=partial(_tell_of_part, tell, f"study {number} of {len(arms)}"),
        )
    return [check for loop in loops for check in loop.measure(runs[loop.name])]


def _tell_of_part(tell: Callable[[str], None], part: str, line: str) -> None:
    tell(f"{part}, {line}")
