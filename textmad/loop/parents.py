"""Who the parents of a population's members are, and what share of each a member gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from textmad.kinship import Descent
from textmad.recipe import PopulationSettings

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


class Parent(NamedTuple):
    """A member of an earlier generation."""

    generation: int
    member: int


class MemberRun(Protocol):
    """What lineage is read from: a member's `textmad.loop.run.Run`."""

    number: int | None

    def sources(self, generation: int) -> list[dict[str, int]]:
        """Where its training set comes from."""
        ...

    def starting_weights(self, generation: int) -> list[dict[str, Any]]:
        """The models that its fit started from."""
        ...

    def imitates(self, generation: int) -> bool:
        """Whether its model has learned its training set."""
        ...


class LineageRow(NamedTuple):
    """The share that a member gets from one parent, or from human text."""

    generation: int
    member: int
    parent_generation: int  # -1: human text
    parent_member: int  # -1: human text
    by: str  # tokens or weights
    share: float


def partners(settings: PopulationSettings, mates_of: Sequence[int] | None) -> list[list[int]]:
    """Return the partners of each member.

    >>> partners(PopulationSettings(members=4, graph="ring", text="pool"), None)
    [[1, 3], [0, 2], [1, 3], [0, 2]]

    Args:
        settings: of the population.
        mates_of: with `graph: unrelated`, the member with the least kinship to each.
    """
    everyone = range(settings.members)
    if settings.graph == "unrelated":
        assert mates_of is not None, "kinship decides"
        return [[mate] for mate in mates_of]
    if settings.graph == "ring":
        n = settings.members
        return [sorted({(k - 1) % n, (k + 1) % n} - {k}) for k in everyone]
    return [[j for j in everyone if j != k and _island(settings, j, k)] for k in everyone]


def text_shares(
    settings: PopulationSettings, member: int, partners: Sequence[int]
) -> dict[int, float]:
    """Return the share of a member's model text that each member's text is; they add up to 1.

    >>> text_shares(PopulationSettings(members=3, migration=0.5), 0, [1, 2])
    {0: 0.5, 1: 0.25, 2: 0.25}
    """
    near = {"own": [member], "others": list(partners), "pool": [member, *partners]}[settings.text]
    far = list(partners)
    if settings.graph == "islands":
        far = [j for j in range(settings.members) if not _island(settings, j, member)]
    shares = {j: (1 - settings.migration) / len(near) for j in near}
    if settings.migration:
        shares |= {j: settings.migration / len(far) for j in far}
    return {j: share for j, share in shares.items() if share}


def weight_shares(
    settings: PopulationSettings, member: int, partners: Sequence[int]
) -> dict[int, float]:
    """Return the weight of each parent's model; they need not add up to 1.

    >>> from textmad.recipe import WeightSettings
    >>> averaged = PopulationSettings(members=3, weights=WeightSettings(own=0.5, partners=0.5))
    >>> weight_shares(averaged, 0, [1, 2])
    {0: 0.5, 1: 0.25, 2: 0.25}
    """
    assert settings.weights is not None, "no weights are crossed"
    shares = {member: settings.weights.own}
    shares |= {j: settings.weights.partners / len(partners) for j in partners}
    return {j: weight for j, weight in shares.items() if weight}


def budgets(shares: Mapping[T, float], tokens: int) -> dict[T, int]:
    """Divide a token budget by shares; the parts add up to the whole.

    >>> budgets({0: 0.5, 1: 0.25, 2: 0.25}, 1001)
    {0: 500, 1: 251, 2: 250}
    """
    parts: dict[T, int] = {}
    done, share_done = 0, 0.0
    for parent, share in shares.items():
        share_done += share
        parts[parent] = round(tokens * share_done) - done
        done += parts[parent]
    return parts


def descents(rows: Sequence[LineageRow]) -> list[Descent]:
    """Return the lineage as kinship is computed from it.

    It is that by tokens. A member that learned no text has that by weights.
    """
    readers = {row[:2] for row in rows if row.by == "tokens"}
    return [
        Descent(row.generation, row.member, row.parent_generation, row.parent_member, row.share)
        for row in rows
        if row.by == "tokens" or row[:2] not in readers
    ]


def lineage_rows(members: Sequence[MemberRun], generation: int) -> list[LineageRow]:
    """Return the parents of all members of a generation, by tokens and by weights.

    A model that is the crossing of its parents alone, and learned no text, has none by tokens.
    """
    rows = []
    for member in members:
        assert member.number is not None, "a member has a number"
        weights = _weights(member.starting_weights(generation))
        is_crossing = bool(weights) and not member.imitates(generation)
        sources = [] if is_crossing else member.sources(generation)
        total = sum(source["tokens"] for source in sources)
        for source in sources:
            parent = source["generation"], source["member"]
            share = source["tokens"] / total
            rows.append(LineageRow(generation, member.number, *parent, "tokens", share))
        for parent, share in weights.items():
            rows.append(LineageRow(generation, member.number, *parent, "weights", share))
    return rows


def lineage_of(members: Sequence[MemberRun], generations: Sequence[int]) -> pd.DataFrame:
    """Return the parents of each member in each of the generations; see `Run.lineage`."""
    import pandas as pd

    columns = ["generation", "member", "parent_generation", "parent_member", "by", "share"]
    rows = [row for generation in generations for row in lineage_rows(members, generation)]
    return pd.DataFrame(rows, columns=columns)


def _weights(parents: Sequence[Mapping[str, Any]]) -> dict[Parent, float]:
    """Return the size of each weight over their sum; none where all are 0."""
    total = sum(abs(parent["weight"]) for parent in parents)
    return {
        Parent(parent["generation"], parent["member"]): abs(parent["weight"]) / total
        for parent in parents
        if parent["weight"]
    }


def _island(settings: PopulationSettings, one: int, other: int) -> bool:
    """Whether two members may be partners by their islands."""
    if settings.graph != "islands":
        return True
    return one // settings.island_size == other // settings.island_size
