"""Numbers of a population: its pedigree, its metrics by member, and what inbreeding explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.analysis.series import REFERENCES
from textmad.kinship import Pedigree
from textmad.loop.parents import LineageRow, descents
from textmad.statistics.explained_variance import Explained, explained_variance

if TYPE_CHECKING:
    import pandas as pd

    from textmad.analysis.arms import Arms
    from textmad.loop.run import Run

# Of sampled text; what a population may lose. The first ones measured are looked at.
DIVERSITY = ("distinct_2", "vendi_score", "mattr", "entropy_1", "rare_rate")


@dataclass(frozen=True)
class Inbreeding:
    """How much of the change of one metric inbreeding explains, and how much the generation.

    Attributes:
        metric: of sampled text, by member.
        explained: the shares; `one` is the inbreeding coefficient, `other` the generation.
        rows: the columns arm, seed, generation, member, inbreeding and change, which is the value
            less the mean of the run's generation 0.
    """

    metric: str
    explained: Explained
    rows: pd.DataFrame


def pedigree_of(lineage: pd.DataFrame) -> Pedigree:
    """Return the pedigree of `Run.lineage()`: by tokens, and by weights where none was learned."""
    columns = (lineage[name].tolist() for name in LineageRow._fields)
    return Pedigree.of(descents([LineageRow(*row) for row in zip(*columns, strict=True)]))


def member_values(run: Run) -> pd.DataFrame:
    """Return the metrics of all members, those of `Run.metrics` with the column member."""
    import pandas as pd

    tables = [member.metrics.assign(member=k) for k, member in enumerate(run.members)]
    return pd.concat(tables, ignore_index=True)


def inbreeding_effects(arms: Arms) -> tuple[Inbreeding, ...]:
    """Return what inbreeding explains of the diversity of sampled text, over all populations.

    Of the metrics in `DIVERSITY` that every member of every population has. Empty without a
    population, and where no member is inbred.
    """
    runs = {
        (arm.name, seed): run
        for arm in arms.arms
        for seed, run in arm.runs.items()
        if run.members and run.generations
    }
    if not runs:
        return ()
    inbreeding = {key: _inbreeding(run) for key, run in runs.items()}
    values = {key: member_values(run) for key, run in runs.items()}
    found = [_effect(metric, inbreeding, values) for metric in DIVERSITY]
    return tuple(each for each in found if each is not None)


def _inbreeding(run: Run) -> pd.DataFrame:
    """Return the inbreeding coefficient of each member of each generation."""
    import pandas as pd

    pedigree = pedigree_of(run.lineage())
    frame = pd.DataFrame(pedigree.members, columns=["generation", "member"])
    return frame.assign(inbreeding=pedigree.inbreeding(pedigree.members))


def _effect(
    metric: str,
    inbreeding: Mapping[tuple[str, int], pd.DataFrame],
    values: Mapping[tuple[str, int], pd.DataFrame],
) -> Inbreeding | None:
    import pandas as pd

    tables = []
    for (arm, seed), table in values.items():
        own = table[(table["metric"] == metric) & (table["split"] == "drawn")]
        own = own[(own["bin"] == "") & own["value"].map(math.isfinite)]
        start = own[own["generation"] == 0]["value"].mean()
        own = own.assign(change=own["value"] - start, arm=arm, seed=seed)
        own = own.merge(inbreeding[arm, seed], on=["generation", "member"])
        tables.append(own[["arm", "seed", "generation", "member", "inbreeding", "change"]])
    if any(table["change"].isna().any() or not len(table) for table in tables):
        return None
    rows = pd.concat(tables, ignore_index=True)
    if not rows["inbreeding"].any():
        return None
    explained = explained_variance(
        rows["inbreeding"],
        rows["generation"],
        rows["change"],
        list(rows["seed"]),
        list(rows["arm"]),
    )
    return Inbreeding(metric, explained, rows)


@dataclass(frozen=True)
class MemberSpread:
    """One metric over the members of a generation; `deviation` is NaN of a single member."""

    metric: str
    split: str
    values: tuple[float, ...]  # by member; NaN where there is none
    mean: float
    deviation: float  # standard deviation over the members


def member_spreads(
    values: pd.DataFrame, generation: int, keys: Sequence[tuple[str, str]]
) -> list[MemberSpread]:
    """Return the given metrics, (metric, split), of a generation's members that were measured.

    Args:
        values: as of `member_values`.
        generation: of the members.
        keys: metric and split of each.
    """
    if values.empty:
        return []
    num_members = int(values["member"].max()) + 1
    own = values[(values["generation"] == generation) & (values["bin"] == "")]
    own = own[~own["split"].isin(REFERENCES)]
    spreads = []
    for metric, split in keys:
        rows = own[(own["metric"] == metric) & (own["split"] == split)]
        numbers = rows.set_index("member")["value"].reindex(range(num_members)).to_numpy(float)
        numbers = np.where(np.isfinite(numbers), numbers, math.nan)
        if np.isnan(numbers).all():
            continue
        finite = numbers[~np.isnan(numbers)]
        deviation = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
        spreads.append(
            MemberSpread(metric, split, tuple(numbers.tolist()), float(finite.mean()), deviation)
        )
    return spreads
