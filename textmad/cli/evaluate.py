"""`textmad evaluate`: measure a finished run, or all runs of a study, by more evaluators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import at_home
from textmad.cli.terminal import session


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", callback=at_home, help="Run folders, or a study folder."),
    ],
    evaluators: Annotated[
        list[str],
        typer.Option(
            "--evaluate",
            metavar="NAME",
            help="Evaluator to add, as in a recipe: self_bleu, or '{self_bleu: {order: 3}}'.",
        ),
    ],
) -> None:
    """Measure runs again, with evaluators added.

    What was measured before stays. The evaluators are added to the recipe in the run folder.
    """
    from textmad.loop.measuring import evaluate as evaluate_run
    from textmad.recipe.yaml_text import parse_yaml
    from textmad.report import print_table
    from textmad.studies.folder import evaluate_study, is_study_folder

    parts = [parse_yaml(text, f"--evaluate {text}") for text in evaluators]
    for folder in folders:
        if is_study_folder(folder):
            runs = evaluate_study(folder, parts, session.progress())
            print(f"measured: {len(runs)} runs of {folder}; compare them: textmad compare {folder}")
        else:
            run = evaluate_run(folder, parts, progress=session.progress())
            print_table(run)
            print(f"measured: {folder}; write its report: textmad report {folder}")
