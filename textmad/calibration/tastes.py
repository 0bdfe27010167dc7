"""A4 with several tastes: one reader decides each choice, so every taste keeps its share of text.

Source: Falahati et al. (2605.07724), reward -|L - T| of a length L and a preferred length T, at
temperature 0.5 (appendix C.6). Here a document is one of 20 lengths, which its first word names:
w0 is 1 word long, w19 is 20. So the course of the shares is known exactly, and nothing of it is due
to a model that learns badly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from textmad.calibration import theory
from textmad.calibration.checks import Check, mean_of
from textmad.calibration.loops import HumanText, Loop
from textmad.evaluators.length import length_entropy
from textmad.loop.run import Run
from textmad.seeds import stream

TARGETS = {1: (10,), 2: (10, 15), 3: (5, 10, 15), 4: (5, 10, 15, 20), 5: (1, 5, 10, 15, 20)}
"""The preferred lengths by their number; those of one and two are the source's."""

_TEMPERATURE = 0.5
_DRAFTS = 4
_VOTERS = 50
_REPLICATES = 400  # of the simulated loop: its standard error is a tenth of five seeds'
_HUMAN = HumanText("texts", 2, 12_000)  # the same as of the other crowds
_LENGTHS = np.arange(1, theory.NUM_TEXTS + 1)


def _near(target: int) -> Callable[[Sequence[str]], list[float]]:
    """Return a scorer: minus the distance of a document's length from the target."""

    def score(texts: Sequence[str]) -> list[float]:
        return [-abs(length_of(text) - target) for text in texts]

    return score


near_1, near_5, near_10, near_15, near_20 = (_near(target) for target in (1, 5, 10, 15, 20))


def length_of(text: str) -> int:
    """Return the length that a document's first word names.

    >>> length_of("w9 w1001")
    10
    """
    return int(text.split()[0][1:]) + 1


def shares_of_lengths(targets: Sequence[int], generation: int) -> theory.Floats:
    """What the model of a generation writes, `(lengths,)`, as the number of documents grows.

    In each group of four the decider has each taste with the same probability, so the next shares
    are the mean of what each taste alone would choose.
    """
    shares = theory.zipf(theory.NUM_TEXTS)
    rewards = [-np.abs(_LENGTHS - target) / _TEMPERATURE for target in targets]
    for _ in range(generation):
        shares = np.mean([best_of_four(shares, reward) for reward in rewards], axis=0)
        shares /= shares.sum()  # else rounding grows with the generations
    return shares


def best_of_four(shares: theory.Floats, reward: theory.Floats) -> theory.Floats:
    """What a choice of one in four by Bradley and Terry makes of shares, summed over all fours.

    `theory.best_of` integrates instead, by nodes that are too few for rewards as far apart as here.
    """
    weights = np.exp(reward - reward.max())
    sums = np.add.outer(np.add.outer(weights, weights), weights).ravel()
    chances = np.multiply.outer(np.multiply.outer(shares, shares), shares).ravel()
    mean = (chances / np.add.outer(weights, sums)).sum(axis=1)
    chosen: theory.Floats = 4 * shares * weights * mean
    return chosen


def entropy(shares: theory.Floats) -> float:
    """Entropy in nats.

    >>> round(entropy(np.array([0.5, 0.5, 0.0])), 3)
    0.693
    """
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())


def finite_entropy(
    targets: Sequence[int], generation: int, documents: int, replicates: int = _REPLICATES
) -> float:
    """Return the expected entropy of so many documents, by a simulation that shares no code.

    Chance takes entropy from a finite loop, 2 % in three generations: lengths are lost, and the
    tastes of 50 voters are never in equal numbers.
    """
    rng, num = stream(0, "calibrate", "tastes", len(targets)), len(targets)
    rewards = np.stack([-np.abs(_LENGTHS - target) / _TEMPERATURE for target in targets])
    shape, entropies = (documents, _DRAFTS), []
    for _ in range(replicates):
        written = rng.choice(theory.NUM_TEXTS, documents, p=theory.zipf(theory.NUM_TEXTS))
        for _ in range(generation):
            tastes = rng.integers(num, size=_VOTERS)[rng.integers(_VOTERS, size=documents)]
            drafts = rng.choice(written, shape)
            noisy = rewards[tastes[:, None], drafts] + rng.gumbel(size=shape)
            written = drafts[np.arange(documents), noisy.argmax(axis=1)]
        counts = np.bincount(written, minlength=theory.NUM_TEXTS)
        entropies.append(entropy(counts / documents))
    return float(np.mean(entropies))


def plural(num_tastes: int, generation: int = 3, documents: int = 900, seeds: int = 5) -> Loop:
    """A4: one taste leaves one length in the end; two that decide one by one leave two."""
    targets = TARGETS[num_tastes]
    scorers = {f"{__name__}:near_{target}": 1.0 for target in targets}
    crowd = {
        "voters": _VOTERS if num_tastes > 1 else 1,
        "keep": 1 / _DRAFTS,
        "units": "raw",
        "rank": "quality",
        "choice": {"by": "bradley_terry", "temperature": _TEMPERATURE},
    }
    if num_tastes > 1:
        crowd |= {"scorer": scorers, "crowd": {"taste_spread": 1.0}, "decided_by": "voter"}
    else:
        crowd |= {"scorer": next(iter(scorers))}
    name = f"{num_tastes} taste{'s' * (num_tastes > 1)}, one in {_DRAFTS}"

    def measure(runs: Sequence[Run]) -> list[Check]:
        lengths = [list(map(length_of, run.training(generation)["text"][:])) for run in runs]
        entropies = mean_of(np.array([length_entropy(each) for each in lengths]))
        exact = finite_entropy(targets, generation, documents)
        what = f"length entropy at t = {generation}"
        return [Check("A4", name, what, exact, entropies, vanishes=num_tastes == 1)]

    settings = {
        "generations": generation,
        "mix": {"model_tokens": _HUMAN.tokens(documents)},
        "sample.oversample": float(_DRAFTS),
        "curate": [{"upvotes": crowd}],
    }
    return Loop(f"tastes-{num_tastes}", _HUMAN, settings, measure, seeds)
