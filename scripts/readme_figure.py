"""Draw docs/quickstart.svg from finished runs: `python scripts/readme_figure.py RUN...`."""

import sys
from pathlib import Path

from textmad import Run
from textmad.report import plots
from textmad.report.page import run_names

runs = [Run(folder) for folder in sys.argv[1:]]
metrics = {name: run.metrics for name, run in zip(run_names(runs), runs, strict=True)}
figure = plots.against_human(metrics, "base_perplexity", "", "", "perplexity under the base model")
# An image on a page has no ink of its own to inherit, and may stand on a dark ground.
svg = figure.svg.replace("<svg ", '<svg style="background: white; color: #222" ', 1)
Path(__file__).parents[1].joinpath("docs", "quickstart.svg").write_text(svg, encoding="utf-8")
