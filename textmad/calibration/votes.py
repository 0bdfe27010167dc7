"""Claims A3 and A4: loops with a crowd or an author.

A document is one of 20 texts, and readers like some of them better. They choose one in K by Bradley
and Terry's model, through the filters of an ordinary recipe. Documents of one model are independent
replicates; after several generations only seeds are independent.
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
"""Takes K, returns the filter of a recipe."""

_BEST = float(theory.REWARD.max())
_REWARD = "textmad.calibration.theory:reward"
_HUMAN = HumanText("texts", 2, 12_000)  # all loops share it, so it is read and cleaned once


def author(drafts: int) -> dict[str, Any]:
    """Return a filter in which the author posts one of `drafts` documents in a row."""
    return {"author": {"drafts": drafts, "scorer": _REWARD, "noise": 1.0, "units": "raw"}}


def crowd(drafts: int) -> dict[str, Any]:
    """Return a filter in which the crowd chooses one of `drafts` random documents."""
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
    """A3: the texts chosen, one in K, tend to p e^reward as K grows. Documents are replicates."""
    human = theory.zipf(theory.NUM_TEXTS)
    exact, limit = theory.best_of(human, drafts), theory.tilted(human)
    # The texts of which p_K has more than the limit: their total excess is the distance.
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
        "mix": {  # all documents, so that the model has exactly Zipf's shares
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
    """A4: selected text alone ends in a single text. Human text beside it keeps others."""
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
        is_closed = fresh == 0  # without human text the gap and the deviation go to 0
        return [
            Check("A4", name, f"max r less mean {when}", _BEST - mean, gaps, vanishes=is_closed),
            Check("A4", name, f"deviation {when}", variance**0.5, spreads, vanishes=is_closed),
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
