"""Taste that drifts: voters come to like what they have been shown.

A document belongs to the taste whose scorer rates it highest. After a generation, each voter's
weights move towards the shares of the tastes among the documents that this voter was shown:

    w_s <- (1 - drift) w_s + drift u_s

w_s is the weight of scorer s, u_s the share of shown documents that belong to it; both sum to 1. A
negative weight stays negative: the document belongs to its scorer where that rates it lowest. Where
everybody sees everything, two voters' difference shrinks by 1 - drift in each generation.

The rule is our own: the linear form of a taste that moves towards what it is exposed to. The voters
are kept as the filter's state, so a run that resumes has the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from textmad.curation.crowd import CastVotes
from textmad.curation.document_rng import Floats
from textmad.curation.protocol import Context
from textmad.curation.voters import Voters


def vote_and_drift(
    cast: Callable[..., CastVotes],
    values: Floats,
    weights: Floats,
    drift: float,
    context: Context,
    *,
    is_raw: bool,
) -> tuple[CastVotes, Floats]:
    """Let the voters of the generation before vote, and keep their new tastes for the next one.

    Args:
        cast: `cast_votes` of the documents; here it gets the members and the tastes.
        values: `(documents, scorers)`: the scorers' own.
        weights: `(scorers,)` of the recipe.
        drift: the rate.
        context: of the filter; has the state of the generation before and takes the new one.
        is_raw: scorers are compared in their own units, which then have to be the same.

    Returns:
        The votes, and the mean weight of each scorer with which people have voted, `(scorers,)`.
    """
    state = context.previous_state()
    before = None if state is None else Exposed.from_state(state)
    mean, deviation = first_scale(values, is_raw=is_raw) if before is None else before[1:]
    tastes = tastes_of(values, weights, mean, deviation)
    result = cast(members=None if before is None else before.members, properties=tastes)
    next_members = drifted(result.members, result.shown, np.sign(weights), drift)
    context.keep_state(Exposed(next_members, mean, deviation).state())
    of_people = np.abs(result.members.weights[~result.members.is_bot])
    nobody = np.full(len(weights), np.nan)
    return result, of_people.mean(axis=0) if len(of_people) else nobody


class Exposed(NamedTuple):
    """Voters, and the scale on which they compare scorers.

    Attributes:
        members: with their tastes of now.
        mean: `(scorers,)` of each scorer over the first text that the crowd saw.
        deviation: `(scorers,)` likewise, 1 where all texts were alike.
    """

    members: Voters
    mean: Floats
    deviation: Floats

    def state(self) -> dict[str, Any]:
        """Return it as JSON values, from which `from_state` reads the same numbers."""
        voters = {name: values.tolist() for name, values in self.members._asdict().items()}
        return {"voters": voters, "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Exposed:
        """Return what `state` has written."""
        voters = {name: np.array(values) for name, values in state["voters"].items()}
        return cls(Voters(**voters), np.array(state["mean"]), np.array(state["deviation"]))


def first_scale(values: Floats, *, is_raw: bool) -> tuple[Floats, Floats]:
    """Return mean and deviation of each scorer over the first text: 0 and 1 in raw units.

    Args:
        values: `(documents, scorers)`: the scorers' own.
        is_raw: scorers are compared in their own units, which then have to be the same.
    """
    num_scorers = values.shape[1]
    if is_raw or not len(values):
        return np.zeros(num_scorers), np.ones(num_scorers)
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def tastes_of(values: Floats, weights: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Return how far each document belongs to each scorer, `(documents, scorers)`; rows sum to 1.

    It belongs to the scorer that rates it highest; to several alike where they are equal; to none
    without a weight.

    >>> values = np.array([[0.0, -5.0], [-3.0, -3.0]])
    >>> tastes_of(values, np.array([0.5, 0.5]), np.zeros(2), np.ones(2)).tolist()
    [[1.0, 0.0], [0.5, 0.5]]

    Args:
        values: `(documents, scorers)`: the scorers' own.
        weights: `(scorers,)` of the recipe: their signs say what is liked.
        mean: what is subtracted from the values.
        deviation: what they are then divided by.
    """
    liked = np.where(weights == 0, -np.inf, np.sign(weights) * (values - mean) / deviation)
    best = liked == liked.max(axis=1, keepdims=True, initial=-np.inf)
    shares: Floats = best / best.sum(axis=1, keepdims=True)
    return shares


def drifted(members: Voters, shown: Floats, signs: Floats, drift: float) -> Voters:
    """Return voters whose tastes have moved towards what they were shown.

    Args:
        members: with the tastes with which they have voted.
        shown: `(voters, scorers)`: `tastes_of` the documents that each was shown, summed. Who was
            shown none keeps their taste.
        signs: `(scorers,)` of the recipe's weights.
        drift: the rate.
    """
    num_shown = shown.sum(axis=1, keepdims=True)
    moved = (1 - drift) * members.weights + drift * signs * shown / np.maximum(num_shown, 1)
    return members._replace(weights=np.where(num_shown > 0, moved, members.weights))
