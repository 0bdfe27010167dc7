"""The group `population` of a recipe: several models, and what passes between them.

A member is one model of the population. It has its own random numbers, training sets and text in
each generation. Its parents are the members of the generation before whose text or weights it gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from textmad.recipe.fields import AtLeastOne, Number, Settings, Share
from textmad.seeds import torch_seed

MOST_MEMBERS = 1000
_SEEDS = 2**31


class WeightSettings(Settings):
    """A model starts from the weights of its parents: base + sum of weight * (parent - base)."""

    own: Number = 0.5  # weight of the member's own model of the generation before
    partners: Number = 0.5  # weight of its partners' models together, each an equal part
    cross: Literal["sum", "layers"] = "sum"  # layers: each layer from one parent, at random
    learn: bool = True  # false: the crossing is the model, nothing is learned

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.own == self.partners == 0:
            raise ValueError("own and partners are both 0: that is the base model; raise either")
        if self.cross == "layers" and min(self.own, self.partners) < 0:
            raise ValueError(
                "cross: layers: weights are the chances of a layer there: expected own and "
                "partners of at least 0"
            )
        return self


class SelectionSettings(Settings):
    """Which members have children: the others' places go to children of the best."""

    keep: AtLeastOne  # members that go on
    by: Literal["loss", "votes"] = "loss"  # on human training text, or by the crowd of curate
    tokens: AtLeastOne = 5_000  # human text of the training pool that no member has learned
    undo: bool = False  # a generation that makes a member worse is not taken
    level: Annotated[Number, Field(gt=0, lt=1)] = 0.05  # of undo's one-sided paired t test

    @property
    def compares_losses(self) -> bool:
        """Whether members are compared by their loss on human text."""
        return self.by == "loss" or self.undo

    @model_validator(mode="after")
    def _level(self) -> Self:
        if not self.undo:
            self._check_default("level", "while undo is false; set undo: true")
        return self


class MemberSettings(Settings):
    """What differs in one member: parts of the groups model, train and sample."""

    model: Mapping[str, Any] = {}
    train: Mapping[str, Any] = {}
    sample: Mapping[str, Any] = {}

    def groups(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The groups that differ, with what differs in them."""
        return ((group, values) for group, values in self if values)

    @property
    def changes_base_text(self) -> bool:
        """Whether text of its base model may differ from that of other members."""
        return bool(self.model or self.sample)


class PopulationSettings(Settings):
    """Several models that share the human pool; text or weights may pass between them."""

    members: Annotated[AtLeastOne, Field(le=MOST_MEMBERS)]
    text: Literal["own", "others", "pool"] = "own"  # whose kept text a member learns
    migration: Share = 0.0  # share of the model text that comes from outside instead
    graph: Literal["all", "ring", "islands", "unrelated"] = "all"  # who a member's partners are
    island_size: AtLeastOne = 2  # members of an island
    weights: WeightSettings | None = None  # null: a model starts as model.start_from says
    each: Annotated[tuple[MemberSettings, ...], Field(strict=False)] = ()  # one for each member
    # Of each member: the community whose human text it learns; empty: all learn all of it.
    communities: Annotated[tuple[str, ...], Field(strict=False)] = ()
    select: SelectionSettings | None = None  # null: every member goes on

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = []
        if self.graph != "islands":
            self._check_default("island_size", f"while graph is {self.graph}; set graph: islands")
        elif self.members % self.island_size:
            faults.append(
                f"island_size: {self.island_size}: expected a divisor of members, {self.members}"
            )
        if self._needs_partners and not self._has_partners:
            alone = "an island has one member" if self.graph == "islands" else "members is 1"
            faults.append(f"text, weights: ask for partners, and {alone}: raise it")
        if self.migration and self.graph == "islands" and self.members <= self.island_size:
            faults.append("migration: there is one island: raise members, or lower island_size")
        elif self.migration and self.graph != "islands" and self.text != "own":
            faults.append(
                f"migration: {self.migration:g}: has no effect while text is {self.text}; set "
                "text: own or graph: islands, or delete it"
            )
        elif self.migration and self.members == 1:
            faults.append("migration: there is one member: raise members")
        if not self._needs_partners and not self.migration and self.graph in ("ring", "unrelated"):
            faults.append(
                f"graph: {self.graph}: has no effect while nothing comes from partners; set text, "
                "migration or weights, or delete it"
            )
        for name in ("each", "communities"):
            given = len(getattr(self, name))
            if given not in (0, self.members):
                faults.append(
                    f"{name}: {given} entries: expected one for each of the {self.members} members"
                )
        if self.select is not None:
            if self.select.keep > self.members:
                faults.append(
                    f"select.keep: {self.select.keep}: expected at most members, {self.members}"
                )
            if self.select.keep == self.members and not self.select.undo:
                faults.append(
                    f"select: keeps all {self.members} members: lower keep, set undo, or delete it"
                )
            if self.graph == "unrelated":
                faults.append(
                    "select: kinship of members whose place went to another is not followed: "
                    "choose another graph, or delete it"
                )
            if any(changes.model for changes in self.each):
                faults.append(
                    "select: a member's place goes to a child of another one: each.model is not "
                    "possible; delete either"
                )
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def _needs_partners(self) -> bool:
        weighs_partners = self.weights is not None and self.weights.partners != 0
        return self.text != "own" or weighs_partners

    @property
    def _has_partners(self) -> bool:
        return (self.island_size if self.graph == "islands" else self.members) > 1

    def changes_base_text(self, member: int, has_prompts: bool) -> bool:
        """Whether a member has a stage of base text of its own.

        It has if its settings differ, or if texts continue human prompts (`has_prompts`) and these
        are those of its community.
        """
        has_own_prompts = bool(self.communities) and has_prompts
        return has_own_prompts or (bool(self.each) and self.each[member].changes_base_text)


def member_seed(seed: int, member: int) -> int:
    """The seed of a member's random numbers; member 0 has the run's own.

    >>> member_seed(7, 0), member_seed(7, 1) == member_seed(7, 1)
    (7, True)
    """
    return seed if member == 0 else torch_seed(seed, "member", member) % _SEEDS
