"""One self-contained HTML page about one run, or several side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from textmad.analysis.forecast import forecast
from textmad.analysis.series import series
from textmad.errors import RunError
from textmad.evaluators.metrics import METRICS
from textmad.report import plots, spread_plots
from textmad.report.forecast import forecast_table
from textmad.report.people import PeopleSection, people_section
from textmad.report.population import PopulationSection, population_section
from textmad.report.tables import Table, chosen_generations, full_table, main_table
from textmad.report.texts import (
    Grid,
    Rejection,
    VoteExtremes,
    count_rejections,
    slot_grid,
    vote_extremes,
)
from textmad.report.verdict import Verdict, verdict
from textmad.store.folder import POPULATION

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

    from textmad.loop.run import Run


@dataclass(frozen=True)
class Section:
    """The content of the page about one run."""

    name: str
    progress: str  # how far the run is
    verdict: Verdict
    main: Table
    full: Table
    forecast: Table | None  # None: there is nothing to predict
    grid: Grid
    votes: Sequence[VoteExtremes]
    people: PeopleSection | None
    population: PopulationSection | None
    rejections: Sequence[Rejection]
    mixtures: Mapping[int, Mapping[str, int]]
    corpus: str
    recipe: str
    provenance: str


def write_report(runs: Sequence[Run], path: Path | None = None) -> Path:
    """Write the page and return its path; equal runs give equal bytes.

    Args:
        runs: at least one, each with a complete generation 0.
        path: where to; by default report.html in the folder of the first run.

    Raises:
        RunError: a run has nothing to report yet, or the place cannot be written.
    """
    from textmad.store import write_atomically

    path = path if path is not None else runs[0].path / "report.html"
    for run in runs:
        if not run.generations:
            raise RunError(
                f"{run.path}: has nothing to report: expected a complete generation 0; the "
                "command that began the run resumes it"
            )
    named = dict(zip(run_names(runs), runs, strict=True))
    page = template("page.html.j2").render(
        title=", ".join(named),
        sections=[_section(*each, place) for place, each in enumerate(named.items())],
        figures=_figures(named),
    )
    write_atomically(path, page.encode("utf-8"))
    return path


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of runs: folders, with as many parents as tell them apart."""
    parts = [run.path.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise RunError(f"{runs[0].path}: is given twice: expected different runs")


def _section(name: str, run: Run, place: int) -> Section:
    done = run.generations
    candidates = {generation: run.candidates(generation) for generation in done}
    ends = dict.fromkeys((done[0], done[-1]))
    votes = [vote_extremes(candidates[generation], generation) for generation in ends]
    rejected = [count_rejections(candidates[g], g) for g in chosen_generations(done)]
    state = "complete" if run.complete else "not complete: what is there is reported"
    return Section(
        name=name,
        progress=f"generations {done[0]} to {done[-1]} of {run.recipe.generations}, {state}",
        verdict=verdict(run.metrics),
        main=main_table(run),
        full=full_table(run),
        forecast=_forecast(run),
        grid=slot_grid([run], done),
        votes=[each for each in votes if each is not None],
        people=people_section(run),
        population=population_section(run, place),
        rejections=[rejection for each in rejected for rejection in each],
        mixtures={generation: run.mixture(generation) for generation in done},
        corpus=_plain(run.corpus_report),
        recipe=run.recipe.to_yaml(),
        provenance=_plain(run.provenance),
    )


def _forecast(run: Run) -> Table | None:
    """The forecast from generation 1, where a filter selects and generations follow."""
    if not run.recipe.curate or 1 not in run.generations or run.recipe.generations < 2:
        return None
    found = forecast(run)
    return forecast_table(found) if any(each.predicted for each in found.traits) else None


# Metrics of sampled text that have a figure of their own: heading, how to read it, axis.
# Metrics of sampled text that have a figure of their own: heading, how to read it, axis. As in the
# verdict, "above" and "below" mean every reference that is drawn.
_TEXT_FIGURES = {
    "distinct_2": (
        "Diversity: distinct-2",
        "Share of word pairs that are different, on as many words of each text. {ladder} "
        "Above {them}: noise. Below {them}: narrowing.",
        "distinct-2 (share)",
    ),
    "rare_rate": (
        "Rare tokens in text",
        "Share of tokens that are rare in human text. {ladder} "
        "Above {them}: noise. Below {them}: narrowing.",
        "rare-token rate (share)",
    ),
    "base_perplexity": (
        "How likely the text is under the base model",
        "{ladder} Above {them}: less likely. Below {them}: more predictable.",
        "perplexity under the base model",
    ),
    "compression_ratio": (
        "Repetitiveness: compression ratio",
        "On as many words of each text. {ladder} Above {them}: repetitive.",
        "compression ratio (byte/byte)",
    ),
}
_HUMAN = {"ladder": "Grey: human text with its 95 % interval.", "them": "it"}
_HUMAN_AND_BASE = {
    "ladder": "Grey: human text with its 95 % interval; purple: the base model's own samples. "
    "Between the two lies text as the base model writes it.",
    "them": "both",
}
_MOST_OTHERS = 4  # figures of an evaluator without one of its own


def _figures(named: Mapping[str, Run]) -> list[plots.Figure]:
    """A figure for what any of the runs measured; none for what none did."""
    metrics: dict[str, pd.DataFrame] = {name: run.metrics for name, run in named.items()}
    shares = {name: {g: kept_share(run, g) for g in run.generations} for name, run in named.items()}
    curves = {name: {g: run.curve(g) for g in run.generations} for name, run in named.items()}
    measured = _measured_by(metrics)
    every = set().union(*measured.values()) if measured else set()
    figures = []
    if "perplexity" in every:
        figures.append(plots.perplexity(metrics))
    if {"rare_loss", "common_loss"} & every:
        figures.append(plots.rare_against_common(metrics))
    for metric, (heading, reading, y_title) in _TEXT_FIGURES.items():
        if metric in every:
            has_base = any(
                series(rows, metric, "drawn").base is not None for rows in metrics.values()
            )
            text = reading.format(**(_HUMAN_AND_BASE if has_base else _HUMAN))
            figures.append(plots.against_human(metrics, metric, heading, text, y_title))
    figures += spread_plots.text_perplexity(metrics)
    with_figure = {"perplexity", "rare_loss", "common_loss", "text_perplexity", *_TEXT_FIGURES}
    measured.pop(POPULATION, None)  # drawn in the section of the population
    for own in measured.values():
        for metric in list(own)[:_MOST_OTHERS] if not with_figure & own.keys() else ():
            known = METRICS.get(metric)
            label, unit = (known.label, known.unit) if known else (metric, "")
            y_title = f"{label} ({unit})" if unit else label
            figures.append(plots.by_split(metrics, metric, label, y_title))
    figures.append(plots.kept_share(shares))
    if any(len(curve) for by_generation in curves.values() for curve in by_generation.values()):
        figures.append(plots.training_loss(curves))
    return figures


def _measured_by(metrics: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, None]]:
    """The metrics with a finite value without bins, or of texts by quantile, by evaluator."""
    measured: dict[str, dict[str, None]] = {}
    for table in metrics.values():
        finite = table[table["value"].map(math.isfinite) & (table["bin"] == "")]
        for evaluator, metric in zip(finite["evaluator"], finite["metric"], strict=True):
            measured.setdefault(evaluator, {})[metric] = None
    return measured


def kept_share(run: Run, generation: int) -> float:
    """The share of a generation's candidates that every filter kept, in [0, 1]."""
    kept = list(run.candidates(generation)["kept"])
    return kept.count(True) / len(kept)


def _plain(value: Any) -> str:
    """A nesting of JSON values as YAML, which people read more easily."""
    return yaml.safe_dump(
        json.loads(json.dumps(value)), sort_keys=False, allow_unicode=True, width=110
    )


@cache
def template(name: str) -> Template:
    """Return a template of this package; everything that it is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # autoescape by file ending is off for names such as page.html.j2.
    environment = Environment(
        loader=PackageLoader("textmad.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
