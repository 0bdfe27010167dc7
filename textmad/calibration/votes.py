"""A3, A4: loops with a crowd or an author, whose replicates are seeds.

A document is one of 20 texts, of which the readers like some better. They choose one in K as
Bradley and Terry have it, through the filters that any recipe has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from textmad.calibration import theory
from textmad.calibration.checks import Check, mean_of
from textmad.calibration.loops import HumanText, Loop, over_seeds
from textmad.store import Run

NUM_SEEDS = 6
_REWARD = "textmad.calibration.theory.choices:reward"
_HUMAN = HumanText("texts", 2, 12_000)  # one for all, so that it is read and cleaned once


def author(drafts: int) -> dict[str, Any]:
    """Of `drafts` documents in a row the author posts one."""
    return {"author": {"drafts": drafts, "scorer": _REWARD, "noise": 1.0, "units": "raw"}}


def crowd(drafts: int) -> dict[str, Any]:
    """Of `drafts` documents that meet by chance the crowd chooses one."""
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


def chosen(
    judge: dict[str, Any],
    drafts: int,
    kept: int = 1000,
    learned: int = 3000,
    seeds: int = NUM_SEEDS,
) -> Loop:
    """A3: what is chosen, one in K, tends to p e^reward as K grows."""
    human = theory.zipf(theory.NUM_TEXTS)
    exact, limit = theory.best_of(human, drafts), theory.tilted(human)
    # Where p_K has more than the limit: the excess of these texts together is the distance.
    excess = exact > limit
    (name,) = judge

    def overlap(run: Run) -> float:
        texts = [int(text.split()[0][1:]) for text in run.kept(0)["text"][:]]
        return 1 - float(excess[texts].mean() - limit[excess].sum())

    def measure(runs: Sequence[Run]) -> list[Check]:
        expected = 1 - theory.distance(exact, limit)
        found = mean_of(over_seeds(runs, overlap))
        return [Check("A3", f"{name}, one in {drafts}", "overlap with p e^r", expected, *found)]

    settings = {
        "generations": 0,
        "mix": {
            "human_tokens": _HUMAN.tokens(learned - kept),
            "model_tokens": _HUMAN.tokens(kept),
        },
        "sample.oversample": float(drafts),
        "curate": [judge],
    }
    return Loop(f"{name}-{drafts}", _HUMAN, settings, measure, seeds)


def curated(
    judge: dict[str, Any],
    human_share: float,
    documents: int,
    generation: int,
    seeds: int = NUM_SEEDS,
) -> Loop:
    """A4: with what was chosen alone one text is left; human text beside it keeps others alive."""
    drafts = 4
    fresh = round(human_share * documents)
    best = float(theory.REWARD.max())
    (by,) = judge
    name = f"{by}, one in {drafts}, {human_share:.0%} human"

    def rewards(run: Run) -> np.ndarray:
        return np.array(theory.reward(run.training(generation)["text"][:]))

    def measure(runs: Sequence[Run]) -> list[Check]:
        mean, variance = theory.mean_and_variance(theory.curated(human_share, drafts, generation))
        gaps = mean_of(over_seeds(runs, lambda run: best - float(rewards(run).mean())))
        spreads = mean_of(over_seeds(runs, lambda run: float(rewards(run).std())))
        when = f"of r at t = {generation}"
        ends = fresh == 0
        return [
            Check("A4", name, f"max r less mean {when}", best - mean, *gaps, vanishes=ends),
            Check("A4", name, f"deviation {when}", variance**0.5, *spreads, vanishes=ends),
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
