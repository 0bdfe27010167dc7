"""`textmad votes`: how far people's votes are, how they agree; export, import, forget."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.options import at_home
from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.rating.agreement import Estimate
    from textmad.rating.ballots import Ballots
    from textmad.rating.records import State
    from textmad.rating.reliability import Reliability


class ToolName(StrEnum):
    """Annotation tools that can collect the votes."""

    POTATO = "potato"
    LABEL_STUDIO = "label-studio"
    ARGILLA = "argilla"


def votes(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", callback=at_home, help="Run folder, or --out of rate.")
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=at_home,
            help="Write all votes as .jsonl or .csv; with --tool a folder of texts to vote on.",
        ),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            callback=at_home,
            help="Add the votes of a .jsonl or .csv; with --tool of what the tool exported.",
        ),
    ] = None,
    tool: Annotated[
        ToolName | None,
        typer.Option(help="With --export or --import: another tool collects the votes."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=at_home,
            help="Write what raters say together about each text: .jsonl or .csv.",
        ),
    ] = None,
    forget: Annotated[
        str | None,
        typer.Option(metavar="RATER", help="Delete a rater and their votes, before they are used."),
    ] = None,
) -> None:
    """Print how far people's votes are and how they agree; export, import or delete votes."""
    from textmad.rating.ballots import Ballots
    from textmad.rating.database import VOTES
    from textmad.rating.exchange import read_votes_file, write_labels, write_votes
    from textmad.rating.tools import read_from_tool, write_for_tool

    if sum(option is not None for option in (export, import_, labels, forget)) > 1:
        raise RecipeError("--export, --import, --labels, --forget: give one of them")
    if tool is not None and export is None and import_ is None:
        raise RecipeError(f"--tool {tool.value}: has no effect without --export or --import")
    ballots = Ballots(folder / VOTES, must_exist=True)
    try:
        if export is not None and tool is not None:
            items = [item for item in ballots.items() if item.is_open]
            write_for_tool(tool.value, export, items)
            print(f"votes: {len(items):,} items for {tool.value} written to {export}")
        elif export is not None:
            all_votes = [vote for state in ballots.states() for vote in ballots.votes(state.ballot)]
            write_votes(export, all_votes)
            print(f"votes: {len(all_votes):,} written to {export}")
        elif import_ is not None:
            collected = (
                read_votes_file(import_)
                if tool is None
                else read_from_tool(tool.value, import_, ballots.items())
            )
            added = ballots.add_votes(collected)
            print(f"votes: {added:,} new ones added from {import_}")
        elif labels is not None:
            number = write_labels(labels, [ballots.votes(s.ballot) for s in ballots.states()])
            print(f"labels: of {number:,} items written to {labels}")
        elif forget is not None:
            deleted, frozen = ballots.raters.forget(forget)
            rest = f"; {frozen:,} stay in generations that learned from them" if frozen else ""
            print(f"{forget}: {deleted:,} votes deleted{rest}")
        else:
            states = ballots.states()
            _show_runs(states)
            for state in states:
                _show(ballots, state)
    finally:
        ballots.close()


def _show_runs(states: list[State]) -> None:
    """Print, for each run of a study, how far its latest ballot is.

    Only here, never on the page: raters are blind to the arms.
    """
    latest = {run: state for state in states for run in state.runs}
    if not latest:
        return
    width = max(3, *map(len, latest))
    print(f"{'run':<{width}}  generation  {'votes':>7}  {'needed':>7}")
    for run, state in sorted(latest.items()):
        print(
            f"{run:<{width}}  {state.generation:>10}  {state.num_votes:>7,}  "
            f"{state.num_needed:>7,}  {_progress(state)}"
        )


def _progress(state: State) -> str:
    return "closed" if state.digest else "enough" if state.is_enough else "open"


def _show(ballots: Ballots, state: State) -> None:
    from textmad.rating.agreement import agreement, first_position_share, rater_qualities
    from textmad.rating.reliability import screen

    settings, cast = state.settings, ballots.votes(state.ballot)
    name = "texts" if state.generation < 0 else f"generation {state.generation}"
    print(f"{name}, ballot {state.ballot}: {settings.question}")
    if state.runs:
        print(f"  runs       {', '.join(state.runs)}")
    print(f"  design     {settings.design}, {state.num_texts:,} texts, {state.num_items:,} items")
    print(f"  votes      {state.num_votes:,} of {state.num_needed:,} needed; {_progress(state)}")
    if cast:
        seconds = median(vote.seconds for vote in cast)
        spent = sum(vote.seconds for vote in cast) / 60
        left = 0.0 if state.digest else max(0, state.num_needed - state.num_votes) * seconds / 60
        print(
            f"  time       {seconds:.1f} seconds a vote (median), {spent:.0f} minutes so far, "
            f"about {left:.0f} to go"
        )
    print(f"  skipped    {state.num_skipped:,}, reported as offensive {state.num_reported:,}")
    print(f"  alpha      {_estimate(agreement(settings, cast))} (1: full agreement, 0: chance)")
    first = first_position_share(settings, cast)
    if first is not None:
        chance = 1 / settings.texts_per_item
        print(f"  first      {_estimate(first)} chose the text shown first (chance: {chance:.2f})")
    print(
        f"  {'rater':<10} {'votes':>6} {'gold':>6} {'again':>6} {'first':>6} {'seconds':>8} "
        f"{'reliability':>18}"
    )
    out, reliable = screen(settings, cast)
    for quality in rater_qualities(settings, cast):
        found = reliable.get(quality.rater)
        notes = ["clicks at random"] if found is not None and found.is_random else []
        notes += ["left out"] if quality.rater in out else []
        print(
            f"  {quality.rater:<10} {quality.num_votes:>6} {_number(quality.gold_accuracy):>6} "
            f"{_number(quality.consistency):>6} {_number(quality.first_position_share):>6} "
            f"{quality.median_seconds:>8.1f} {_reliability(found):>18}"
            + "".join(f"  {note}" for note in notes)
        )


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    interval = (
        f", 95 % {estimate.low:.2f} to {estimate.high:.2f}" if estimate.low is not None else ""
    )
    return f"{estimate.value:.2f}{interval}"


def _reliability(found: Reliability | None) -> str:
    return "-" if found is None else f"{found.share:.2f} ({found.low:.2f}-{found.high:.2f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
