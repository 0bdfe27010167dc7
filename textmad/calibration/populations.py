"""A7: categorical members that learn each other's text drift apart as theory says.

Members are demes of the island model: each learns n documents, of itself, of other members and of
people, and a document of C words is one gene copy in each of C populations. Theory is about
agreement, the chance that two draws are the same word: the sum of p^2 within a member, and of p q
between two of them. Expected heterozygosity is one less it. Two documents agree if both are copies
of one ancestor, and else as often as two human words do.

Which documents each member learned is known, and the same at all positions. The expectation is that
of words given these documents, so positions are independent replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.calibration import theory
from textmad.calibration.checks import Check, mean_of
from textmad.calibration.loops import NUM_CATEGORIES, HumanText, Loop
from textmad.loop.run import Run
from textmad.models.toy.categorical import Categorical

Floats = npt.NDArray[np.float64]


class TrainingSets(NamedTuple):
    """Which documents the members of one generation learned, as 0 and 1.

    Attributes:
        human: (members, human documents).
        model: (members, members, documents): of a reader, what each author wrote before.
    """

    human: Floats
    model: Floats


def expected_agreement(generations: Sequence[TrainingSets], human_agreement: float) -> list[Floats]:
    """Return the expected agreement of members with members after each generation.

    Two of a reader's documents are the same document, or of one author (and agree as two draws of
    this author do), or of two authors. A human document agrees with a model document for certain
    where it is its ancestor, and else as two human words do; so the chance that a model's word
    descends from each human document is kept beside the agreement. This is the recursion of Wright
    (Genetics 16, 1931) and Malécot (1948) for demes that draw from each other, where a document may
    be read by several members, and where the human source is finite.

    >>> everything = TrainingSets(np.ones((1, 10)), np.zeros((1, 1, 10)))
    >>> again = TrainingSets(np.zeros((1, 10)), np.ones((1, 1, 10)))
    >>> found = expected_agreement([everything, again], 0.2)
    >>> [round(float(each[0, 0]), 4) for each in found]  # 1 - 0.8 * 0.9, 1 - 0.8 * 0.9^2
    [0.28, 0.352]

    Args:
        generations: what was learned, from generation 0 on.
        human_agreement: of two words of different human documents, the sum of p^2.

    Returns:
        Each `(members, members)`: the expected sum of p q.
    """
    num_members, num_human = generations[0].human.shape
    agreement = np.zeros((num_members, num_members))
    ancestors = np.zeros((num_members, num_human))  # chance that a word descends from a document
    found = []
    for human, model in generations:
        by_author = model.sum(axis=2)  # documents (readers, authors)
        size = human.sum(axis=1) + by_author.sum(axis=1)
        same = np.einsum("rad,sad->rsa", model, model)  # documents that both readers learned
        pairs = by_author[:, None, :, None] * by_author[None, :, None, :]
        total = np.einsum("rsab,ab->rs", pairs, agreement)
        total += np.einsum("rsa,a->rs", same, 1 - np.diagonal(agreement))
        num_human_read = human.sum(axis=1)
        total += human_agreement * np.outer(num_human_read, num_human_read)
        total += (1 - human_agreement) * human @ human.T
        descending = (human @ ancestors.T) @ by_author.T  # pairs (readers of human, of model text)
        mixed = human_agreement * np.outer(num_human_read, by_author.sum(axis=1))
        mixed += (1 - human_agreement) * descending
        total += mixed + mixed.T
        agreement = total / np.outer(size, size)
        ancestors = (human + by_author @ ancestors) / size[:, None]
        found.append(agreement)
    return found


def islands(
    migration: float,
    human: int = 0,
    *,
    members: int = 3,
    draws: int = 20,
    chains: int = 1500,
    generation: int = 4,
) -> Loop:
    """A7: members that learn so many draws of their own and of others' text, and human documents.

    Args:
        migration: share of the draws that other members wrote.
        human: documents that each member reads anew in each generation, beside the draws.
        members: of the population.
        draws: model documents that a member learns.
        chains: positions.
        generation: the last one.
    """
    text = HumanText("counts", chains, draws + human * (generation + 1))
    shares = theory.zipf(NUM_CATEGORIES)
    name = f"{members} members, {draws} draws, {100 * migration:g}% of others"
    name += f", {human} human" if human else ""

    def measure(runs: Sequence[Run]) -> list[Check]:
        (run,) = runs
        learned = [training_sets(run, g) for g in range(generation + 1)]
        expected = expected_agreement(learned, float(np.sum(shares**2)))
        pairs = list(combinations(range(members), 2))
        by_others = np.concatenate([_read_of_others(each) for each in learned[1:]])
        what = "documents of others, mean"
        checks = [Check("A7", name, what, migration * draws, mean_of(by_others), not migration)]
        for g in sorted({0, generation // 2, generation}):
            fitted = [_shares(each, g) for each in run.members]
            within = np.mean([np.sum(p * p, axis=1) for p in fitted], axis=0)
            between = np.mean([np.sum(fitted[i] * fitted[j], axis=1) for i, j in pairs], axis=0)
            theirs = float(np.mean(np.diagonal(expected[g])))
            apart = float(np.mean([expected[g][pair] for pair in pairs]))
            checks += [
                Check("A7", name, f"sum of p^2 within, t = {g}", theirs, mean_of(within)),
                Check("A7", name, f"sum of p q between, t = {g}", apart, mean_of(between)),
            ]
        return checks

    settings = {
        "generations": generation,
        "mix.model_tokens": text.tokens(draws),
        "population": {"members": members, "migration": migration},
    }
    if human:
        settings |= {"mix.human_tokens": text.tokens(human), "mix.human": "fresh"}
    return Loop(f"islands-{100 * migration:g}-{human}", text, settings, measure)


def training_sets(run: Run, generation: int) -> TrainingSets:
    """Return which documents each member of a generation learned."""
    pool = {each: row for row, each in enumerate(run.human["id"][:])}
    written: list[list[str]] = [[]] * len(run.members)
    if generation:
        written = [member.kept(generation - 1)["id"][:] for member in run.members]
    most = max(map(len, written))
    places = {each: (k, row) for k, ids in enumerate(written) for row, each in enumerate(ids)}
    human = np.zeros((len(run.members), len(pool)))
    model = np.zeros((len(run.members), len(run.members), most))
    for reader, member in enumerate(run.members):
        for each in member.training(generation)["id"][:]:
            if each in pool:
                human[reader, pool[each]] = 1
            else:
                model[(reader, *places[each])] = 1
    return TrainingSets(human, model)


def _read_of_others(learned: TrainingSets) -> Floats:
    """Return how many documents of other members each member learned, `(members,)`."""
    by_author = learned.model.sum(axis=2)
    read: Floats = by_author.sum(axis=1) - np.diagonal(by_author)
    return read


def _shares(member: Run, generation: int) -> Floats:
    """Return the shares of words at each position, `(positions, categories)`."""
    model = Categorical(member.recipe.model).load(member.model_folder(generation))
    return model.shares
