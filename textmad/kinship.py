"""Kinship and inbreeding of the members of a population, from who learned from whom.

A member stands for a diploid individual, which has two copies of everything. It gets the copies
as two gametes from its parents, the members whose text it learned: one with the share w of the text
gives 2w of the two. So two parents with half each give one gamete each, and a single parent gives
both (selfing). Where shares are uneven, the two are drawn without replacement (`gamete_pairs`).

Human text is a source of infinitely many unrelated founders, each with an infinitesimal share. So
its kinship with everything is 0, that with itself included, and a member that learns human text
alone has unrelated parents. The members of the first generation are of this kind: they are the
founders, unrelated by definition, though they read the same human pool.

Definitions: Wright (American Naturalist 56, 1922) for F; Malécot (1948) for kinship; Lacy (Zoo
Biology 8, 1989) for the effective number of founders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Individual: TypeAlias = tuple[int, int]  # generation, member
Floats: TypeAlias = NDArray[np.float64]

HUMAN = -1
"""The parent that human text is."""

_ROUNDING = 1e-6  # of a sum of shares that were rounded
_EQUAL = 1e-12  # kinships that differ by less are a tie


class Descent(NamedTuple):
    """One parent of one member: the share of its text that the parent wrote."""

    generation: int
    member: int
    parent_generation: int  # before `generation`; -1 for human text
    parent_member: int  # -1 for human text
    share: float  # in [0, 1]; those of a member sum to 1


def gamete_pairs(shares: Mapping[Individual, float]) -> dict[tuple[Individual, Individual], float]:
    """Return the probability of each unordered pair of parents that the two gametes come from.

    Brewer's method for two draws without replacement (Australian Journal of Statistics 5, 1963):
    the first with probability proportional to w (1 - w) / (1 - 2w), the second to w among the
    others. It includes each parent with probability 2w. A parent with w of a half or more gives one
    gamete for certain; the other comes from it with probability 2w - 1, and from another parent
    with 2w. What is missing to 1 is pairs with human text, which are of no kin.

    >>> gamete_pairs({(0, 0): 0.5, (0, 1): 0.5})
    {((0, 0), (0, 1)): 1.0}
    >>> gamete_pairs({(0, 0): 0.75})  # and a quarter of human text
    {((0, 0), (0, 0)): 0.5}

    Args:
        shares: of the parents that are members, in [0, 1]; the rest to 1 is human text.
    """
    certain = next((parent for parent, w in shares.items() if w >= 0.5), None)
    if certain is not None:
        pairs = {(certain, other): 2 * w for other, w in shares.items() if other != certain}
        selfing = 2 * shares[certain] - 1
        return {(certain, certain): selfing, **pairs} if selfing > 0 else pairs
    human = 1 - math.fsum(shares.values())
    # Of an infinitesimal share, w (1 - w) / (1 - 2w) is w.
    weight = human + sum(w * (1 - w) / (1 - 2 * w) for w in shares.values())
    return {
        (p, q): v * w / weight * (1 / (1 - 2 * v) + 1 / (1 - 2 * w))
        for (p, v), (q, w) in combinations(shares.items(), 2)
    }


@dataclass(frozen=True)
class Pedigree:
    """Who descends from whom, with the kinship of all members.

    Attributes:
        parents: the shares of each member's parents that are members, those of earlier generations
            first; the rest to 1 is human text.
    """

    parents: Mapping[Individual, Mapping[Individual, float]]

    @classmethod
    def of(cls, rows: Iterable[Descent]) -> Pedigree:
        """Return the pedigree of such rows; several rows of one parent add up.

        Raises:
            ValueError: shares outside [0, 1] or that do not sum to 1; a parent that is not an
                earlier member.
        """
        shares: dict[Individual, dict[Individual, float]] = {}
        for generation, member, parent_generation, parent_member, share in rows:
            child, parent = (generation, member), (parent_generation, parent_member)
            if not 0 <= share <= 1 + _ROUNDING:
                raise ValueError(f"{_named(child)}: share {share:g}: expected one from 0 to 1")
            own = shares.setdefault(child, {})
            own[parent] = own.get(parent, 0.0) + float(share)
        parents: dict[Individual, dict[Individual, float]] = {}
        for child in sorted(shares):
            total = math.fsum(shares[child].values())
            if abs(total - 1) > _ROUNDING:
                raise ValueError(f"{_named(child)}: shares that sum to {total:g}: expected 1")
            members = {p: w / total for p, w in sorted(shares[child].items()) if p[1] != HUMAN if w}
            for parent in members:
                if parent[0] >= child[0] or parent not in parents:
                    raise ValueError(
                        f"{_named(child)}: the parent {_named(parent)}: expected a member of an "
                        "earlier generation that has rows of its own"
                    )
            parents[child] = members
        return cls(parents)

    @property
    def members(self) -> tuple[Individual, ...]:
        """Return all members, by generation."""
        return tuple(self.parents)

    @property
    def founders(self) -> tuple[Individual, ...]:
        """Return the members of the first generation."""
        first = min((generation for generation, _ in self.parents), default=0)
        return self.of_generation(first)

    def of_generation(self, generation: int) -> tuple[Individual, ...]:
        """Return the members of a generation."""
        return tuple(each for each in self.parents if each[0] == generation)

    def kinship(self, members: Sequence[Individual], others: Sequence[Individual]) -> Floats:
        """Return the kinship of members with others, `(members, others)`.

        The probability that a copy drawn from one and a copy drawn from the other come from one
        copy of an ancestor. Of a member with itself it is (1 + F) / 2: a half without inbreeding.
        """
        return self._kinship[np.ix_(self._places(members), self._places(others))]

    def inbreeding(self, members: Sequence[Individual]) -> Floats:
        """Return Wright's coefficient of inbreeding, F, of each member, in [0, 1].

        The kinship of the two parents that the gametes come from: 0.5, 0.75, 0.875 in generations
        of selfing, and 0.25, 0.375, 0.5 in generations of full siblings.
        """
        own = self._places(members)
        return 2 * self._kinship[own, own] - 1

    def contributions(self, members: Sequence[Individual]) -> Floats:
        """Return what each founder and human text contribute, `(members, founders + 1)`.

        The expected share of a member that descends from each founder; the last column is the human
        text that was learned after the founders. Each row sums to 1.
        """
        return self._contributions[self._places(members)]

    @cached_property
    def _row(self) -> dict[Individual, int]:
        return {member: row for row, member in enumerate(self.parents)}

    def _places(self, members: Sequence[Individual]) -> list[int]:
        return [self._row[member] for member in members]

    @cached_property
    def _kinship(self) -> Floats:
        """Of all with all: the tabular method (Emik and Terrill, Journal of Heredity 40, 1949).

        Each member is computed from its parents' rows, the earlier first; so of two members the
        later one is taken apart.
        """
        kinship = np.zeros((len(self.parents),) * 2)
        for row, shares in enumerate(self.parents.values()):
            weights = np.array(list(shares.values()))
            kinship[row, :row] = weights @ kinship[self._places(list(shares)), :row]
            kinship[:row, row] = kinship[row, :row]
            inbreeding = sum(
                probability * kinship[self._row[p], self._row[q]]
                for (p, q), probability in gamete_pairs(shares).items()
            )
            kinship[row, row] = (1 + inbreeding) / 2
        return kinship

    @cached_property
    def _contributions(self) -> Floats:
        founders = {founder: column for column, founder in enumerate(self.founders)}
        found = np.zeros((len(self.parents), len(founders) + 1))
        for row, (member, shares) in enumerate(self.parents.items()):
            if member in founders:
                found[row, founders[member]] = 1
                continue
            weights = np.array(list(shares.values()))
            found[row] = weights @ found[self._places(list(shares))]
            found[row, -1] += 1 - math.fsum(weights)
        return found


def effective_founders(contributions: Floats) -> float:
    """Return the number of equal founders that would give as much diversity, 1 / sum of c^2.

    The human text that was learned after the founders counts as infinitely many of them: it adds
    nothing to the sum. So the number may be larger than that of the founders, and is infinite
    where nothing descends from them. Lost copies (drift) are not in it.

    >>> effective_founders(np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]))
    2.0
    >>> effective_founders(np.array([[0.25, 0.25, 0.5]]))
    8.0

    Args:
        contributions: `(members, founders + 1)` as of `Pedigree.contributions`.
    """
    squares = float((contributions.mean(axis=0)[:-1] ** 2).sum())
    return 1 / squares if squares else math.inf


def mates(rows: Iterable[Descent], generation: int) -> dict[int, int]:
    """Return for each member of a generation the other member with the least kinship to it.

    Of several, it is the next on the ring of all members, by number. So equally related members
    are mated in a ring, and a mate need not have its mate in return.

    >>> founders = [Descent(0, member, -1, HUMAN, 1.0) for member in range(3)]
    >>> mates(founders, 0)
    {0: 1, 1: 2, 2: 0}

    Raises:
        ValueError: the generation has fewer than two members.
    """
    pedigree = Pedigree.of(rows)
    members = pedigree.of_generation(generation)
    if len(members) < 2:
        raise ValueError(f"generation {generation}: {len(members)} members: expected two or more")
    kinship = pedigree.kinship(members, members)
    chosen = {}
    for place, (_, member) in enumerate(members):
        on_ring = [(place + step) % len(members) for step in range(1, len(members))]
        least = kinship[place, on_ring].min()
        mate = next(other for other in on_ring if kinship[place, other] <= least + _EQUAL)
        chosen[member] = members[mate][1]
    return chosen


def _named(individual: Individual) -> str:
    return f"generation {individual[0]}, member {individual[1]}"
