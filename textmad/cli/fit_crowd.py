"""`textmad fit-crowd`: fit a simulated crowd to the people's votes of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.options import RunPath

if TYPE_CHECKING:
    from textmad.analysis.people import ScorerRow
    from textmad.statistics.crowd_fit import CrowdFit, Range

_DEFAULT = ["fluency", "variety"]


def fit_crowd(
    folder: RunPath,
    scorers: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            metavar="NAME",
            help="Scorer that the crowd votes by; repeatable (default: fluency and variety).",
        ),
    ] = None,
) -> None:
    """Compare simulated scorers with people's votes, and fit a simulated crowd to them.

    The last lines are the filter for a recipe.
    """
    from textmad.analysis.people import (
        SCORERS,
        PeoplesVotes,
        compare_scorers,
        fit_to_people,
        fitted_filter,
    )
    from textmad.loop.run import Run
    from textmad.recipe.yaml_text import to_yaml

    chosen = list(dict.fromkeys(scorers or _DEFAULT))
    check_scorers(chosen)
    people = PeoplesVotes(Run(folder))
    shown = dict.fromkeys([*chosen, *SCORERS])
    votes = people.votes
    print(
        f"people  {len(votes.mark):,} votes of {len(votes.raters)} raters on "
        f"{len(people.texts):,} texts of {len(people.generations)} generations"
    )
    print("scorers against people, 95 % intervals over texts and raters:")
    print(f"  {'scorer':<20} {'AUC of up and down votes':<28} Spearman with the share of upvotes")
    for row in compare_scorers(people, list(shown)):
        print(f"  {row.scorer:<20} {_describe(row)}")
    fit = fit_to_people(people, chosen)
    print(f"crowd that makes the {fit.num_votes:,} votes likeliest, with 95 % intervals:")
    for name, estimate in _estimates(chosen, fit).items():
        print(f"  {name:<28} {estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})")
    print("for a recipe:")
    print(to_yaml({"curate": [fitted_filter(people, chosen, fit)]}), end="")


def check_scorers(scorers: list[str]) -> None:
    """Reject what is no scorer, before anything is computed.

    Raises:
        RecipeError: it names the option.
    """
    from textmad.curation.score_mixture import check_scorer
    from textmad.errors import RecipeError

    for scorer in scorers:
        try:
            check_scorer(scorer)
        except ValueError as error:
            raise RecipeError(f"--scorer {scorer}: {error}") from None


def _describe(row: ScorerRow) -> str:
    found = row.prediction
    if found is None:
        return f"- ({row.reason})"
    auc = f"{found.auc:.3f} ({found.auc_low:.3f} to {found.auc_high:.3f})"
    rank = f"{found.spearman:.3f} ({found.spearman_low:.3f} to {found.spearman_high:.3f})"
    return f"{auc:<28} {rank}"


def _estimates(scorers: list[str], fit: CrowdFit) -> dict[str, Range]:
    weights = {
        f"weight of {name}": weight for name, weight in zip(scorers, fit.weights, strict=True)
    }
    strictness = {
        "crowd.strictness": fit.strictness,
        "crowd.strictness_spread": fit.strictness_spread,
    }
    known = {name: value for name, value in strictness.items() if value is not None}
    return weights | {"noise": fit.noise} | known
