"""The table of `textmad plan --pilot`: how many seeds each hypothesis needs, and their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textmad.analysis.pilots import Power
from textmad.planning.plan import between
from textmad.planning.study_plan import StudyPlan
from textmad.report.numbers import MISSING, show_difference, show_number
from textmad.report.tables import Table


def power_table(powers: Sequence[Power], plan: StudyPlan, on_pilot: Sequence[str] = ()) -> Table:
    """Return a line for each hypothesis, and one for all of them together.

    `on_pilot`: notes on how the pilot differs from the study.
    """
    header = ("hypothesis", "difference", "sd", "power now", "seeds", "to be safe",
              "tokens", "time", "disk")  # fmt: skip
    lines = [
        (
            each.hypothesis.name,
            show_difference(each.difference),
            show_number(each.sd),
            MISSING if math.isnan(each.planned) else f"{each.planned:.0%}".replace("%", " %"),
            _count(each.seeds),
            _count(each.seeds_for_upper_sd),
            *_cost(each.seeds, plan),
        )
        for each in powers
    ]
    if len(powers) > 1:
        most = max(each.seeds for each in powers)
        safe = max(each.seeds_for_upper_sd for each in powers)
        lines.append(("all", "", "", "", _count(most), _count(safe), *_cost(most, plan)))
    pilot_seeds = min(each.difference.n for each in powers)
    notes = (
        "difference: of the pilot, of the same seed, with its 95 % interval; sd: between its "
        f"{pilot_seeds} seeds. power now: with the {len(plan.study.seeds)} seeds of the study. "
        "seeds: the fewest with a power of 80 %. Both take the pilot's difference as the true "
        "difference, which a small pilot can easily overstate, and test each hypothesis at its "
        f"level divided by {len(powers)}, the worst case of Holm's adjustment. to be safe: the "
        "same with the upper 80 % bound of sd. –: 10,000 seeds are not enough, for example because "
        "the pilot's difference is not on the claimed side of the tolerance.",
        "tokens, time, disk: of the whole study with so many seeds, all arms and controls, if no "
        "stage is shared but in time generation 0. time: on this machine without other work.",
        *on_pilot,
    )
    return Table(header, tuple(lines), notes)


def _count(seeds: float) -> str:
    return MISSING if math.isinf(seeds) else f"{seeds:,.0f}"


def _cost(seeds: float, plan: StudyPlan) -> tuple[str, str, str]:
    if math.isinf(seeds):
        return MISSING, MISSING, MISSING
    with_seeds = plan.with_seeds(int(seeds))
    return (
        f"{with_seeds.tokens:,}",
        between(*with_seeds.ranges[1]),
        f"{with_seeds.disk_bytes / 1e6:,.0f} MB",
    )
