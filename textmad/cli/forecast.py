"""`textmad forecast`: say from a run's first generations where selection leads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import at_home


def forecast(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", callback=at_home, help="Run folders.")
    ],
    generation: Annotated[
        int,
        typer.Option(metavar="G", min=1, help="The last generation that the forecast uses."),
    ] = 1,
    horizon: Annotated[
        int | None,
        typer.Option(metavar="N", help="The last generation (default: of the recipe)."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Metric of drawn and kept text; repeatable (default: rare_rate, distinct_2).",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Say when a trait has changed by more than this share of generation 0's value.",
        ),
    ] = None,
) -> None:
    """Forecast where selection leads the text of runs, from their first generations."""
    from textmad.analysis.forecast import forecast as forecast_run
    from textmad.report.forecast import forecast_table
    from textmad.report.tables import show

    for folder in folders:
        found = forecast_run(
            folder,
            generation=generation,
            horizon=horizon,
            metrics=metric or (),
            tolerance=tolerance,
        )
        if len(folders) > 1:
            print(folder)
        show(forecast_table(found))
