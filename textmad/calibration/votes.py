"""A3, A4: loops with a crowd or an author.

A document is one of 20 texts, of which the readers like some better. They choose one in K as
Bradley and Terry have it, through the filters that any recipe has. Documents that one model wrote
are independent of each other; after several generations only seeds are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from textmad.calibration import theory
from textmad.calibration.checks import Check, mean_of
from textmad.calibration.loops import HumanText, Loop
from textmad.loop.run import Run

Judges = Callable[[int], dict[str, Any]]
"""From K to the filter of a recipe."""

_BEST = float(theory.REWARD.max())
_REWARD = "textmad.calibration.theory:reward"
_HUMAN = HumanText("texts", 2, 12_000)  # one for all, so that it is read and cleaned once


def author(drafts: int) -> dict[str, Any]:
    """Return a filter: of `drafts` documents in a row the author posts one."""
    return {"author": {"drafts": drafts, "scorer": _REWARD, "noise": 1.0, "units": "raw"}}


def crowd(drafts: int) -> dict[str, Any]:
    """Return a filter: of `drafts` random documents the crowd chooses one."""
    return {
        "upvotes": {
            "scorer": _REWARD,
            "voters": 1,
            "keep": 1 / drafts,
            "units": "raw",
            "rank": "quality",
            "choice": {"by": "bradley_terry"},
        }
    }


def chosen(judges: Judges, drafts: int, kept: int) -> Loop:
    """A3: what is chosen, one in K, tends to p e^reward as K grows; documents are replicates."""
    human = theory.zipf(theory.NUM_TEXTS)
    exact, limit = theory.best_of(human, drafts), theory.tilted(human)
    # Where p_K has more than the limit: the excess of these texts together is the distance.
    excess, judge = exact > limit, judges(drafts)
    (by,) = judge
    name = f"{by}, one in {drafts}"

    def measure(runs: Sequence[Run]) -> list[Check]:
        (run,) = runs
        texts = [int(text.split()[0][1:]) for text in run.kept(0)["text"][:]]
        overlap = mean_of(1 - (excess[texts] - limit[excess].sum()))
        gap, (mean, _) = mean_of(_BEST - theory.REWARD[texts]), theory.mean_and_variance(exact)
        return [
            Check("A3", name, "overlap with p e^r", 1 - theory.distance(exact, limit), overlap),
            Check("A3", name, "max r less mean of r", _BEST - mean, gap),
        ]

    settings = {
        "generations": 0,
        "mix": {  # all of them, so that the model's shares are Zipf's
            "human_tokens": _HUMAN.tokens(_HUMAN.needed - kept),
            "model_tokens": _HUMAN.tokens(kept),
        },
        "sample.oversample": float(drafts),
        "curate": [judge],
    }
    return Loop(f"{by}-{drafts}", _HUMAN, settings, measure)


def curated(
    judges: Judges, human_share: float, documents: int, generation: int, seeds: int = 16
) -> Loop:
    """A4: selected text alone leaves a single text; human text beside it keeps others."""
    drafts = 4
    judge = judges(drafts)
    fresh = round(human_share * documents)
    (by,) = judge
    name = f"{by}, one in {drafts}, {human_share:.0%} human"

    def measure(runs: Sequence[Run]) -> list[Check]:
        mean, variance = theory.mean_and_variance(theory.curated(human_share, drafts, generation))
        rewards = np.array([theory.reward(run.training(generation)["text"][:]) for run in runs])
        gaps, spreads = mean_of(_BEST - rewards.mean(axis=1)), mean_of(rewards.std(axis=1))
        when = f"of r at t = {generation}"
        ends = fresh == 0
        return [
            Check("A4", name, f"max r less mean {when}", _BEST - mean, gaps, vanishes=ends),
            Check("A4", name, f"deviation {when}", variance**0.5, spreads, vanishes=ends),
        ]

    mix: dict[str, Any] = {"model_tokens": _HUMAN.tokens(documents - fresh)}
    if fresh:
        mix |= {"human_tokens": _HUMAN.tokens(fresh), "human": "fresh"}
    settings = {
        "generations": generation,
        "mix": mix,
        "sample.oversample": float(drafts),
        "curate": [judge],
    }
    return Loop(f"{by}-human-{human_share:g}", _HUMAN, settings, measure, seeds)
