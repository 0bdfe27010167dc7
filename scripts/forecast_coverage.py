"""Measure how often the forecast's 80 % bands hold, over finished runs: docs/forecast.md.

    python scripts/forecast_coverage.py DIR...     # studies, or run folders; as many as there are

Each run is forecast from its generation 1, and each later generation is compared with what was
measured then. Seeds of one arm are alike, so the number of arms says more than that of the runs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd

from textmad.analysis.forecast import forecast
from textmad.loop.run import Run


def runs_in(folders: list[Path]) -> list[Run]:
    paths = sorted({p.parent for folder in folders for p in folder.rglob("recipe.yaml")})
    runs = [Run(path) for path in paths]
    return [run for run in runs if run.complete and run.recipe.generations > 1]


def measured(runs: list[Run]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Predicted and measured values of all runs; how many traits had no forecast, by reason."""
    tables, reasons = [], defaultdict(int)
    for run in runs:
        found = forecast(run)
        arm = run.path.parent if run.path.name.startswith("seed-") else run.path
        tables.append(found.table.assign(run=str(run.path), arm=str(arm)))
        for trait in found.traits:
            if trait.note:
                reasons[trait.note] += 1
    return pd.concat(tables, ignore_index=True).dropna(subset="measured"), dict(reasons)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a kind of trait: coverage, and errors as a share of those of no change."""
    table = table.assign(
        kind=table["trait"].str.split(" ").str[0],
        held=(table["low"] <= table["measured"]) & (table["measured"] <= table["high"]),
        error=(table["predicted"] - table["measured"]).abs(),
        of_no_change=(table["no_change"] - table["measured"]).abs(),
    )
    ends = table.groupby(["run", "trait"])["generation"].transform("max")
    table["is_last"] = table["generation"] == ends
    rows = []
    for kind, group in [*table.groupby("kind"), ("all", table)]:
        first_step, end = group[group["generation"] == 2], group[group["is_last"]]
        rows.append(
            {
                "trait": kind,
                "arms": group["arm"].nunique(),
                "runs": group["run"].nunique(),
                "forecasts": len(end),
                "held, one step": first_step["held"].mean(),
                "held, at the end": end["held"].mean(),
                "held, all": group["held"].mean(),
                "error, one step": relative(first_step),
                "error, at the end": relative(end),
            }
        )
    return pd.DataFrame(rows)


def relative(group: pd.DataFrame) -> float:
    """Mean error as a share of that of no change: each trait in its unit, then their mean."""
    sums = group.groupby("trait")[["error", "of_no_change"]].sum()
    return float((sums["error"] / sums["of_no_change"]).mean())


def as_markdown(table: pd.DataFrame) -> str:
    lines = [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in row] for row in table.values]
    rows = [list(table.columns), [":---", *["---:"] * (len(table.columns) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    runs = runs_in([Path(name) for name in sys.argv[1:]])
    if not runs:
        sys.exit("no finished run of more than one generation: give folders of studies or runs")
    table, reasons = measured(runs)
    if len(table):
        print(as_markdown(summary(table)))
    print(f"\n{len(runs)} finished runs")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"no forecast for {count} traits: {reason}")


if __name__ == "__main__":
    main()
