"""A population in a run's report: pedigree, kinship, metrics by member, texts side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textmad.analysis.populations import member_spreads, member_values, pedigree_of
from textmad.evaluators.metrics import METRICS
from textmad.kinship import Pedigree, effective_founders
from textmad.report import pedigree_plots
from textmad.report.numbers import MISSING, show_number, show_rounded
from textmad.report.plots import Figure
from textmad.report.tables import MAIN, Table, chosen_generations
from textmad.report.texts import Grid, slot_grid

if TYPE_CHECKING:
    import pandas as pd

    from textmad.loop.run import Run

_MOST_TEXTS = 6  # members whose texts stand side by side
_MOST_COLUMNS = 8  # members with a column of their own in the table
_NUM_SLOTS = 4


@dataclass(frozen=True)
class PopulationSection:
    """A population as the page displays it; every field is plain text still to be escaped."""

    generation: int  # the last
    sentences: tuple[str, ...]
    figures: tuple[Figure, ...]
    table: Table
    members: tuple[int, ...]  # of the texts
    texts: Grid


def population_section(run: Run, place: int) -> PopulationSection | None:
    """Return the population of a run; None where it is one model.

    Args:
        run: with a complete generation.
        place: of the run among those of the page.
    """
    if not run.members:
        return None
    lineage, metrics, last = run.lineage(), run.metrics, run.generations[-1]
    pedigree, values = pedigree_of(lineage), member_values(run)
    inbreeding = dict(
        zip(pedigree.members, pedigree.inbreeding(pedigree.members).tolist(), strict=True)
    )
    figures = [
        pedigree_plots.pedigree(f"pedigree-{place}", lineage, inbreeding),
        pedigree_plots.kinship(f"kinship-{place}", pedigree, last),
        pedigree_plots.inbreeding(f"inbreeding-{place}", pedigree),
        pedigree_plots.diversity(f"between-{place}", metrics),
        pedigree_plots.divergence(f"divergence-{place}", metrics, last),
        pedigree_plots.by_member(
            f"members-{place}", values, "perplexity", "held_out",
            "Perplexity of held-out human text by member", "perplexity",
        ),
    ]  # fmt: skip
    members = tuple(chosen_generations(range(len(run.members)), _MOST_TEXTS))
    return PopulationSection(
        generation=last,
        sentences=_sentences(pedigree, last),
        figures=tuple(each for each in figures if each is not None),
        table=_table(values, last, len(run.members)),
        members=members,
        texts=slot_grid([run.members[k] for k in members], [last], _NUM_SLOTS),
    )


def _sentences(pedigree: Pedigree, generation: int) -> tuple[str, ...]:
    members = pedigree.of_generation(generation)
    contributions = pedigree.contributions(members)
    effective = effective_founders(contributions)
    shown = "infinite" if math.isinf(effective) else show_rounded(effective, 1)
    later = float(contributions[:, -1].mean())
    return (
        f"{len(members)} members. The {len(pedigree.founders)} of generation 0 are the founders: "
        "they learned human text only, and count as unrelated.",
        f"In generation {generation} the mean inbreeding coefficient F is "
        f"{show_rounded(float(pedigree.inbreeding(members).mean()), 2)} (0: unrelated parents; "
        f"0.25: a child of two full siblings). The effective number of founders is {shown}. "
        f"{100 * later:.0f} % of the generation descends from human text that was learned after "
        "generation 0, which counts as infinitely many founders.",
    )


def _table(values: pd.DataFrame, generation: int, num_members: int) -> Table:
    """Return the main metrics of the last generation: mean, spread and each member."""
    members = range(min(num_members, _MOST_COLUMNS))
    header = ("metric", "split", "mean", "deviation", *(f"member {k}" for k in members))
    lines = [
        (
            METRICS[each.metric].label,
            each.split,
            show_number(each.mean),
            _shown(each.deviation),
            *(_shown(each.values[k]) for k in members),
        )
        for each in member_spreads(values, generation, MAIN)
    ]
    notes = [f"Generation {generation}. The deviation is the standard deviation over members."]
    if num_members > len(members):
        notes.append(f"{num_members - len(members)} more members are in mean and deviation.")
    return Table(header, tuple(lines), tuple(notes))


def _shown(value: float) -> str:
    return MISSING if math.isnan(value) else show_number(value)
