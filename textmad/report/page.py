"""One self-contained HTML page about one run, or about several side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from textmad.errors import RunError
from textmad.report import plots, spread_plots
from textmad.report.tables import Table, chosen_generations, full_table, main_table
from textmad.report.texts import Grid, Rejection, Voted, rejections, slot_grid, voted
from textmad.report.verdict import Verdict, verdict

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

    from textmad.loop.run import Run


@dataclass(frozen=True)
class Section:
    """Everything the page says about one run."""

    name: str
    progress: str  # how far the run is
    verdict: Verdict
    main: Table
    full: Table
    grid: Grid
    votes: Sequence[Voted]
    rejections: Sequence[Rejection]
    mixtures: Mapping[int, Mapping[str, int]]
    corpus: str
    recipe: str
    provenance: str


def write_report(runs: Sequence[Run], path: Path | None = None) -> Path:
    """Write the page, whole or not at all; equal runs give equal bytes.

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
        sections=[_section(name, run) for name, run in named.items()],
        figures=_figures(named),
    )
    write_atomically(path, page.encode("utf-8"))
    return path


def run_names(runs: Sequence[Run]) -> list[str]:
    """What runs are called: the folder, with as many parents as it takes to tell them apart."""
    parts = [run.path.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise RunError(f"{runs[0].path}: is given twice: expected different runs")


def _section(name: str, run: Run) -> Section:
    done = run.generations
    candidates = {generation: run.candidates(generation) for generation in done}
    ends = dict.fromkeys((done[0], done[-1]))
    votes = [voted(candidates[generation], generation) for generation in ends]
    state = "complete" if run.complete else "not complete: what is there is reported"
    return Section(
        name=name,
        progress=f"generations {done[0]} to {done[-1]} of {run.recipe.generations}, {state}",
        verdict=verdict(run.metrics),
        main=main_table(run),
        full=full_table(run),
        grid=slot_grid([run], done),
        votes=[each for each in votes if each is not None],
        rejections=[r for g in chosen_generations(done) for r in rejections(candidates[g], g)],
        mixtures={generation: run.mixture(generation) for generation in done},
        corpus=_plain(run.corpus_report),
        recipe=run.recipe.to_yaml(),
        provenance=_plain(run.provenance),
    )


def _figures(named: Mapping[str, Run]) -> list[plots.Figure]:
    metrics: dict[str, pd.DataFrame] = {name: run.metrics for name, run in named.items()}
    shares = {name: {g: kept_share(run, g) for g in run.generations} for name, run in named.items()}
    curves = {name: {g: run.curve(g) for g in run.generations} for name, run in named.items()}
    return [
        plots.perplexity(metrics),
        plots.rare_against_common(metrics),
        plots.against_human(
            metrics,
            "distinct_2",
            "Diversity: distinct-2",
            "Share of word pairs that are different, on as many words of each text. Above human: "
            "noise. Below human: narrowing.",
            "distinct-2 (share)",
        ),
        plots.against_human(
            metrics,
            "rare_rate",
            "Rare tokens in text",
            "Share of tokens that are rare in human text. Above human: noise. Below human: "
            "narrowing.",
            "rare-token rate (share)",
        ),
        plots.against_human(
            metrics,
            "base_perplexity",
            "How surprising the text is to the base model",
            "Above human: odder than what people write. Below human: blander.",
            "perplexity under the base",
        ),
        *spread_plots.text_perplexity(metrics),
        plots.against_human(
            metrics,
            "compression_ratio",
            "Repetitiveness: compression ratio",
            "On as many words of each text. Above human: repetitive.",
            "compression ratio (byte/byte)",
        ),
        plots.kept_share(shares),
        plots.training_loss(curves),
    ]


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
    """A template of this package; everything that it is given is escaped."""
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
