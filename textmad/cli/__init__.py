"""The command line. It parses, calls, prints, and turns errors into exit codes; no more."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.errors import RecipeError, TextmadError

if TYPE_CHECKING:
    from textmad.recipe import Recipe

_OTHERS_WAIT = 5.0  # seconds

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # half of the time that --help takes
    pretty_exceptions_enable=False,
    help="What happens to a language model's text when models learn from their own output.",
)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Lay a value over the recipe; recorded."),
]


class Fetchable(StrEnum):
    """A model that `textmad fetch` knows how to get."""

    SMOLLM2 = "smollm2"


class Engine(StrEnum):
    """Where `textmad study` computes its runs."""

    LOCAL = "local"
    RAY = "ray"


class Scheduler(StrEnum):
    """A cluster's scheduler that `textmad study` writes a script for."""

    SLURM = "slurm"


class TextFormat(StrEnum):
    """The formats that `corpus.format` knows."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"
    DATASET = "dataset"
    REDDIT = "reddit"


Jobs = Annotated[int, typer.Option(metavar="N", min=1, help="Runs side by side, a process each.")]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, in YAML.")]


@app.command()
def plan(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe or a study, in YAML.")],
    set_: Set = None,
) -> None:
    """Say all that can be known before spending.

    Faults, stages, tokens, disk, time.
    """
    from textmad import studies

    if studies.is_study(recipe):
        if set_:
            raise RecipeError("--set: is for recipes; change the study file")
        study = studies.load_study(recipe)
        from textmad.planning import make_study_plan

        print(make_study_plan(study).to_text())
        return
    loaded, _ = _load(recipe, set_)
    from textmad.planning import make_plan

    print(make_plan(loaded).to_text())


@app.command()
def run(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run folder.")],
    set_: Set = None,
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="Fail unless exactly N processes run.")
    ] = None,
) -> None:
    """Run a recipe, or go on where it was interrupted."""
    loaded, overrides = _load(recipe, set_)
    from textmad.loop import recursion
    from textmad.progress import SilentProgress, make_progress

    main = os.environ.get("RANK", "0") == "0"
    finished = recursion.run(
        loaded,
        out,
        progress=make_progress() if main else SilentProgress(),
        num_processes=processes,
        overrides=overrides,
    )
    if main:
        from textmad.report import print_table, write_report

        page = write_report([finished])
        print_table(finished)
        print(f"report: {page}")


@app.command()
def study(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study, in YAML.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.")],
    jobs: Jobs = 1,
    engine: Annotated[Engine, typer.Option(help="Where the runs are computed.")] = Engine.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Of a Ray cluster, or auto; else one is started."),
    ] = None,
    emit: Annotated[
        Scheduler | None,
        typer.Option(help="Run nothing: print an array script of the runs that are left."),
    ] = None,
) -> None:
    """Run the arms and seeds of a study with their controls, or go on where it was interrupted."""
    from textmad import studies
    from textmad.progress import make_progress
    from textmad.studies.folder import summary

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if emit is not None:
        for option, is_given in (
            (f"--jobs {jobs}", jobs > 1),
            (f"--engine {engine}", engine != Engine.LOCAL),
            (f"--address {address}", address is not None),
        ):
            if is_given:
                raise RecipeError(f"{option}: a script has a task for each run; leave it out")
        script, runs = studies.emit_slurm(studies.load_study(study), out, tell)
        print(script, end="")
        tell(f"{len(runs)} runs are left to the script, which is for sbatch")
        return
    studies.study(
        studies.load_study(study),
        out,
        jobs=jobs,
        engine=engine.value,
        address=address,
        progress=make_progress(),
        tell=tell,
        at_end=lambda runs: print(summary(runs, out), flush=True),
    )


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; the first folder's report.html.")
    ] = None,
) -> None:
    """Write an HTML page about one run or several."""
    from textmad import store
    from textmad.report import print_table, write_report

    runs = [store.Run(folder) for folder in folders]
    page = write_report(runs, out)
    for opened in runs:
        if len(runs) > 1:
            print(opened.path)
        print_table(opened)
    print(f"report: {page}")


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="A study's folder, or run folders.")
    ],
    control: Annotated[
        str | None,
        typer.Option(metavar="ARM", help="An arm, or a run of it; the human-only one."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="METRIC, METRIC/SPLIT or METRIC/SPLIT/BIN; repeatable."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the control's value; what is no harm yet."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write comparison.md, .csv, .html, ... here.")
    ] = None,
) -> None:
    """Set arms against a control, over seeds.

    Differences with intervals, whether they are shown, since when.
    """
    from textmad.analysis.comparing import compare as set_against
    from textmad.report.comparison.page import print_comparison, write_comparison

    found = set_against(folders, control=control, metrics=metric or (), tolerance=tolerance)
    print_comparison(found)
    if out is not None:
        for path in write_comparison(found, out):
            print(f"comparison: {path}")


@app.command()
def audit(
    texts: Annotated[list[str], typer.Argument(metavar="TEXTS...", help="Files, or folders.")],
    reference: Annotated[str, typer.Option(metavar="HUMAN", help="Human text, or chitchat.")],
    text_column: Annotated[str, typer.Option(metavar="COLUMN", help="Where the text is.")] = "text",
    form: Annotated[
        TextFormat, typer.Option("--format", help="Of all files, if not by their names.")
    ] = TextFormat.AUTO,
    reference_text_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of the reference, if another.")
    ] = None,
    reference_format: Annotated[
        TextFormat | None, typer.Option(help="Of the reference, if another.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Judge each of its values by itself too.")
    ] = None,
    documents: Annotated[int, typer.Option(metavar="N", help="Compared of each, at most.")] = 5000,
    min_documents: Annotated[
        int, typer.Option(metavar="N", help="Smaller groups are left out, smaller files refused.")
    ] = 200,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="Longer documents are left out.")
    ] = 1000,
    max_bad_lines: Annotated[
        float, typer.Option(metavar="SHARE", help="Files with more unreadable lines are refused.")
    ] = 0.01,
    detector: Annotated[
        bool, typer.Option("--detector", help="Train a classifier on each too; slow.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audit.md, .csv, .parquet here.")
    ] = None,
) -> None:
    """Hold a corpus against human text, without any training.

    Diversity, rare words, duplicates, overlap, n-grams, beside what human text is to itself.
    """
    from textmad import auditing
    from textmad.report.audit_page import print_audit, write_audit

    found = auditing.audit(
        texts,
        reference,
        text_column=text_column,
        form=form.value,
        reference_text_column=reference_text_column,
        reference_format=reference_format.value if reference_format else None,
        group=group,
        documents=documents,
        min_documents=min_documents,
        max_words=max_words,
        max_bad_lines=max_bad_lines,
        detector=detector,
    )
    print_audit(found)
    if out is not None:
        for path in write_audit(found, out):
            print(f"audit: {path}")


@app.command()
def calibrate(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the runs here; else they are deleted at the end."),
    ] = None,
    jobs: Jobs = 2,
) -> None:
    """Check the loop against models whose collapse is known exactly.

    Exit code 1 when one comes out otherwise.
    """
    from textmad import calibration

    with nullcontext(out) if out else TemporaryDirectory(prefix="textmad-calibrate-") as folder:
        checks = calibration.calibrate(
            folder, jobs=jobs, tell=lambda line: print(line, file=sys.stderr, flush=True)
        )
    print(calibration.table(checks))
    print(calibration.summary(checks))
    raise typer.Exit(int(any(check.verdict != "agrees" for check in checks)))


@app.command()
def fetch(
    model: Annotated[Fetchable, typer.Argument(help="Which one.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to; models/smollm2.")
    ] = None,
) -> None:
    """Download a pretrained model for `model.base`."""
    from textmad.base_models import smollm2
    from textmad.progress import make_progress

    folder = out or Path("models", model.value)
    if not smollm2.fetch(folder, make_progress()):
        print(f"{folder}: is there already, whole")
    print(f"model.base: {folder}")


def main() -> None:
    """Run the command line; the exit codes are those of `textmad.errors`, 130 and 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.unraisablehook = _ignore_swallowed_stops
    try:
        app()
    except TextmadError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except _Stopped as stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say("interrupted" + _how_to_go_on(sys.argv[1:]))
        sys.exit(128 + stopped.args[0])


def _how_to_go_on(arguments: Sequence[str]) -> str:
    """What the same command would do again: only what has a folder of its own goes on."""
    command = arguments[0] if arguments else ""
    if command in ("run", "study") or (
        command == "calibrate" and any(word.startswith("--out") for word in arguments)
    ):
        return "; the same command goes on from here"
    return "; the same command begins again"


def _say(message: str) -> None:
    """The closing message, once: what all processes say the first of them says.

    The others wait so long that torchrun, which stops all as soon as one has failed, has ended
    them; one that is still there has met with something of its own.
    """
    rank = os.environ.get("RANK", "0")
    if rank != "0":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        time.sleep(_OTHERS_WAIT)
        message = f"process {rank}: {message}"
    print(f"textmad: {message}", file=sys.stderr)


class _Stopped(BaseException):
    """SIGINT or SIGTERM as an exception, so that the lock and temporary folders are given back."""


def _stop(number: int, frame: FrameType | None) -> None:
    # What is raised in a destructor (`datasets.Dataset` has one) is swallowed: so ask again later.
    signal.signal(signal.SIGALRM, lambda _, frame: _stop(number, frame))
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    raise _Stopped(number)


def _ignore_swallowed_stops(unraisable: sys.UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, _Stopped):
        sys.__unraisablehook__(unraisable)


def _load(path: Path, assignments: list[str] | None) -> tuple[Recipe, dict[str, object]]:
    from textmad.recipe import load_recipe
    from textmad.recipe.yaml_text import parse_override

    overrides: dict[str, object] = {}
    for text in assignments or []:
        dotted, value = parse_override(text)
        if dotted in overrides:
            raise RecipeError(f"--set {text}: {dotted} is set twice; delete one")
        overrides[dotted] = value
    return load_recipe(path, overrides), overrides
