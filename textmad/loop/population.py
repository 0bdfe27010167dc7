"""A population: several members in step, and what one member reads of the others.

    run(recipe, out)
      Population.select(generation)       which members of the generation before have children
      mix(member, generation)             of each member
        Relatives.sources(generation)       whose kept text it learns: the one way across
      fit(member, generation)             of each member
        Relatives.starting_model(generation)  whose weights it starts from
      Population.measure(generation)      all members together

All members have curated generation g - 1 before one of them begins generation g. From there on
their order makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from textmad import store
from textmad.errors import ModelError, RecipeError
from textmad.evaluators.population import measure, measure_lineage
from textmad.kinship import mates
from textmad.loop.feasibility import check_members_corpus
from textmad.loop.parents import (
    LineageRow,
    Parent,
    budgets,
    descents,
    lineage_rows,
    partners,
    text_shares,
    weight_shares,
)
from textmad.loop.selection import Sibling, select
from textmad.loop.stages import Stage, Stages
from textmad.mixture import Source
from textmad.models.protocol import LanguageModel, SupportsCrossing, SupportsEmbedding
from textmad.recipe import PopulationSettings, Recipe
from textmad.seeds import stream
from textmad.text import documents
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.loop.run import Run


SharesOf = Callable[[PopulationSettings, int, Sequence[int]], dict[int, float]]
"""Returns the share of each place, of a member and its partners."""


class Population:
    """The members of one run, and the stages that belong to all of them."""

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        stages: Stages,
        base: LanguageModel,
        members: Sequence[Sibling],
    ) -> None:
        assert recipe.population is not None, "a run of one model"
        self.settings: PopulationSettings = recipe.population
        self.recipe, self.run, self.stages, self.base = recipe, run, stages, base
        self.members = members
        self._partners: dict[int, list[list[int]]] = {}  # by generation: kinship reads all earlier

    # --- who descends from whom -------------------------------------------------------------

    def standing(self, generation: int) -> list[Parent]:
        """Return who stands in each member's place when generation + 1 begins.

        Without a selection it is the member itself, of that generation.
        """
        selection = self.run.selection(generation)
        if selection is None:
            return [Parent(generation, member) for member in range(self.settings.members)]
        return [Parent(*parent) for parent in selection["standing"]]

    def partners(self, generation: int) -> list[list[int]]:
        """Return the partners of each member in the generation before this one."""
        if generation not in self._partners:
            mates_of = None
            if self.settings.graph == "unrelated":
                chosen_mates = mates(descents(self.lineage(generation)), generation - 1)
                mates_of = [chosen_mates[member] for member in range(self.settings.members)]
            self._partners[generation] = partners(self.settings, mates_of)
        return self._partners[generation]

    def lineage(self, generation: int) -> list[LineageRow]:
        """Return who learned from whom in the generations before this one."""
        return [row for g in range(generation) for row in lineage_rows(self.run.members, g)]

    def check_corpus(self) -> None:
        """Check that the human text is enough for each member, and is counted as each counts it.

        Raises:
            CorpusError: a community has too little text, or too little is left for a selection.
            RecipeError: a member's base model splits text into other tokens.
        """
        pool = self.run.human
        check_members_corpus(self.recipe, pool)
        counts = documents.token_counts(pool)
        for number, member in enumerate(self.members):
            if member.base.digest != self.base.digest:
                given = np.array([len(ids) for ids in member.base.encode(pool["text"][:])])
                if not np.array_equal(given, counts):
                    raise RecipeError(
                        f"population.each.{number}.model.base: {member.recipe.model.base}: splits "
                        "text into other tokens than model.base does: expected a base model with "
                        "the same tokenizer"
                    )

    # --- stages of all members together -----------------------------------------------------

    def select(self, generation: int) -> None:
        """Choose which members of a generation have children, and which generations are undone."""
        if self.settings.select is None or generation < 0:
            return
        by_votes = self.settings.select.by == "votes"
        inputs = {
            "select": self.settings.select.model_dump(),
            "corpus": self.stages.digest(store.CORPUS),
            "mix": [[m.digest("mix", g) for m in self.members] for g in range(generation + 1)],
            "model": [member.digest("model", generation) for member in self.members],
            "curate": [m.digest("curate", generation) for m in self.members] if by_votes else None,
            "earlier": [self.stages.digest(store.SELECT, g) for g in range(generation)],
        }

        def write(selection: Mapping[str, Any], folder: Path) -> None:
            store.write_json(selection, folder / "selection.json")

        def compute() -> dict[str, Any]:
            before = self.standing(generation - 1) if generation else None
            order = stream(self.recipe.seed, "select", "human").permutation(len(self.run.human))
            human = documents.take(self.run.human, order)
            return select(self.settings, self.members, generation, before, human, self.scores)

        self.stages.complete(
            Stage(store.SELECT, generation, inputs, compute, write, main_only=True)
        )

    def measure(self, generation: int) -> None:
        """Measure all members of a generation together: their text, and their lineage."""
        inputs = {
            name: [member.digest(name, generation) for member in self.members]
            for name in ("model", "curate")
        }
        # Kinship reads the lineage of all generations.
        inputs["mix"] = [m.digest("mix", g) for g in range(generation + 1) for m in self.members]

        def compute() -> pa.Table:
            measured = [
                *measure(
                    self._drawn(generation),
                    score=partial(self.scores, generation),
                    embed=self._embed,
                ),
                *measure_lineage(descents(self.lineage(generation + 1)), generation),
            ]
            rows = [
                {"generation": generation, "evaluator": store.POPULATION, **vars(measurement)}
                for measurement in measured
            ]
            return pa.Table.from_pylist(rows, store.METRICS_SCHEMA)

        def write(metrics: pa.Table, folder: Path) -> None:
            pq.write_table(metrics, folder / "metrics.parquet")

        self.stages.complete(
            Stage(store.POPULATION, generation, inputs, compute, write, main_only=True)
        )

    def scores(self, generation: int, member: int, passages: Passages) -> list[Any]:
        """Return the nats of each token of each passage under the model of a member."""
        model = self.stages.scorer.shared((generation, member))
        return list(model.token_nll(passages.texts, *passages.prompt_arguments()))

    def _drawn(self, generation: int) -> list[Passages]:
        """The text that each member has sampled, in a random order."""
        drawn = []
        for member in self.members:
            candidates = member.run.candidates(generation)
            rng = stream(member.recipe.seed, "compare", "drawn", generation)
            drawn.append(Passages.of(documents.take(candidates, rng.permutation(len(candidates)))))
        return drawn

    @cached_property
    def _embed(self) -> Any:
        """The base model as an encoder; None where it has no vectors."""
        base = self.stages.scorer.shared(None)
        if not isinstance(base, SupportsEmbedding):
            return None
        return lambda passages: base.embed(passages.texts, *passages.prompt_arguments())


class Relatives:
    """What one member's stages read of the other members."""

    def __init__(self, population: Population, member: int) -> None:
        self._population, self._member = population, member

    def shares(self, generation: int) -> dict[Parent, int]:
        """Return the token budget of each parent's text, in a fixed order; its own comes first."""
        shares = self._by_parent(generation, text_shares)
        return budgets(shares, self._population.recipe.mix.model_tokens)

    def inputs_of_mix(self, generation: int) -> list[dict[str, Any]]:
        """Return what the mixture depends on: each parent, its budget and its text's digests."""
        return [
            {
                **parent._asdict(),
                "tokens": tokens,
                "curate": [self._digest("curate", each) for each in self._written(parent)],
            }
            for parent, tokens in self.shares(generation).items()
        ]

    def sources(self, generation: int) -> list[Source]:
        """Return the kept text of each parent, with its budget."""
        own = self._population.standing(generation - 1)[self._member]
        sources = []
        for parent, tokens in self.shares(generation).items():
            names: tuple[str | int, ...] = ("member", parent.member) if parent != own else ()
            if names and parent.generation != generation - 1:
                names += ("of generation", parent.generation)
            kept: list[Dataset] = [documents.empty()] * generation
            for each in self._written(parent):
                place = generation - 1 if parent == each else each.generation
                kept[place] = self._run(each).kept(each.generation)
            sources.append(Source(tokens, kept, parent.member, names))
        return sources

    def inputs_of_fit(self, generation: int) -> dict[str, Any]:
        """Return what a fit depends on beside its training set: where it starts, and whether."""
        weights = self._population.settings.weights
        parents = [
            {**parent._asdict(), "weight": weight, "digest": self._digest("model", parent)}
            for parent, weight in self._starting_weights(generation).items()
        ]
        crossing = {} if weights is None else {"cross": weights.cross, "learn": weights.learn}
        return {"previous": None, "parents": parents, **crossing}

    def learns(self, generation: int) -> bool:
        """Whether the model learns its training set, and is not the crossing alone."""
        weights = self._population.settings.weights
        return generation == 0 or weights is None or weights.learn

    def starting_model(self, generation: int) -> LanguageModel:
        """Return the model that a fit starts from.

        Raises:
            ModelError: weights are crossed, and the base model cannot cross them.
        """
        member, weights = self._population.members[self._member], self._population.settings.weights
        starts = self._starting_weights(generation)
        if not starts:
            return member.base
        models = [self._model(parent) for parent in starts]
        if weights is None:
            return models[0]
        if not isinstance(member.base, SupportsCrossing):
            raise ModelError(
                f"population.weights: the model {member.base.name} cannot cross weights; delete "
                "it, or choose another model.base"
            )
        layers = None
        if weights.cross == "layers":
            layers = stream(member.recipe.seed, "cross", generation)
        return member.base.crossed(models, list(starts.values()), choose_layers=layers)

    def _starting_weights(self, generation: int) -> dict[Parent, float]:
        """Return the weight of each model that a fit starts from; none: the base model."""
        population = self._population
        if generation == 0:
            return {}
        if population.settings.weights is None:
            continues = population.recipe.model.start_from == "previous"
            return {population.standing(generation - 1)[self._member]: 1.0} if continues else {}
        return self._by_parent(generation, weight_shares)

    def _by_parent(self, generation: int, shares_of: SharesOf) -> dict[Parent, float]:
        """Return the share of each parent; after a selection, several places have the same one."""
        population = self._population
        standing = population.standing(generation - 1)
        partners = population.partners(generation)[self._member]
        merged: dict[Parent, float] = {}
        for place, share in shares_of(population.settings, self._member, partners).items():
            merged[standing[place]] = merged.get(standing[place], 0.0) + share
        return merged

    def _model(self, parent: Parent) -> LanguageModel:
        """Open the model of a parent, as its member saved it."""
        member = self._population.members[parent.member]
        return member.base.load(member.folder.stage("model", parent.generation))

    def is_learned(self, generation: int) -> bool:
        """Whether a member has learned in this generation, from what was kept before."""
        return any(m.is_committed("model", generation) for m in self._population.members)

    def discard_mixtures(self, generation: int) -> None:
        """Delete what was made from a generation's kept text and not learned yet."""
        for stage in store.OF_POPULATION:
            store.discard(self._population.stages.folder.stage(stage, generation - 1))
        for member in self._population.members:
            store.discard(member.folder.stage("mix", generation))

    def _written(self, parent: Parent) -> list[Parent]:
        """The generations of a parent whose text is mixed."""
        if self._population.recipe.mix.model == "latest":
            return [parent]
        return [Parent(g, parent.member) for g in range(parent.generation + 1)]

    def _run(self, parent: Parent) -> Run:
        return self._population.members[parent.member].run

    def _digest(self, stage: str, parent: Parent) -> str:
        return self._population.members[parent.member].digest(stage, parent.generation)
