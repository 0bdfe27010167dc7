"""One model of a run: its recipe, its base model and filters, and what it has committed so far.

A run of one model has one member. In a population each has its own part of the run folder, and its
recipe is what it would be in a run of its own. What a member does in a generation are functions of
it: `learning` (mix, fit), `sampling`, `judging` (curate, crawl) and `evaluating`.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import numpy as np

from textmad import store
from textmad.curation.protocol import Context
from textmad.curation.score_mixture import own_scorer_sources
from textmad.loop.contexts import ContextBuilder, source_digests
from textmad.loop.generation_io import human_prompts
from textmad.loop.kept_values import KeptValues
from textmad.loop.population import Relatives
from textmad.loop.run import Run
from textmad.loop.stages import Stages
from textmad.models.distributed.distributed_scoring import DistributedScorer, Name
from textmad.models.opening import open_model
from textmad.models.protocol import LanguageModel, preferring
from textmad.progress import Progress
from textmad.recipe import Recipe
from textmad.recipe.components import TWIN, Component, component_name

_AS_SAMPLED = {"prompt", "prompt_tokens", "max_new_tokens"}  # how human text is prompted and cut


class Member:
    """A model of a run with everything that its stages are made of.

    Args:
        recipe: of a run of this model alone.
        folder: where its stages are.
        progress: told what is being done.
        shared: where other runs leave what they have in common with this one.
        base: the base model, if it is open already.
        run: what is committed so far, if that is not the whole run.

    Raises:
        ModelError: the base model cannot be opened, or cannot learn as the recipe says.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: store.RunFolder,
        progress: Progress,
        shared: store.Sharing | None = None,
        base: LanguageModel | None = None,
        run: Run | None = None,
    ) -> None:
        self.recipe, self.folder, self.progress, self.shared = recipe, folder, progress, shared
        self.base = base if base is not None else open_model(recipe.model, recipe.sample)
        if recipe.train.preference is not None:
            preferring(self.base)  # which says now that it cannot
        self.evaluators = recipe.evaluators()
        self.filters = _named(recipe.curate, recipe.filters())
        crawl_filters = recipe.crawl.guard if recipe.crawl else ()
        self.crawl_filters = _named(crawl_filters, recipe.crawl_filters())
        self._sources = source_digests(self.evaluators)  # which says now what is missing
        self.run = run if run is not None else Run(folder.path)
        # Of what the base model consists of and, where it is the user's own, of its code.
        self.base_digests = {"base": self.base.digest, **own_code([(self.base.name, self.base)])}
        if recipe.model.dtype == "auto":  # a machine that chooses otherwise gives other numbers
            self.base_digests["number type"] = getattr(self.base, "number_type", "float32")
        self.relatives: Relatives | None = None  # of a member of a population
        self._fitted: tuple[int, LanguageModel] | None = None
        scorer = DistributedScorer(self._model_named)
        # The runs of a study ask the same people, on one page, who cannot tell the arms apart.
        votes_folder, name = folder.path, ""
        if isinstance(shared, store.SharedStages):
            votes_folder, name = shared.study, shared.run
        self.contexts = ContextBuilder(
            recipe, self.run, self.base, scorer, votes_folder, name, self._kept_values
        )
        self.stages = Stages(
            folder,
            recipe.seed,
            self.base_digests,
            scorer,
            progress,
            shared,
            self.run.community,
            recipe.checkpoint_minutes,
        )

    def _kept_values(self, base: LanguageModel) -> MutableMapping[Any, Any]:
        """What evaluators compute once a run: in memory, and in the cache where there is one."""
        if self.shared is None:
            return {}
        inputs = {
            "model": self.recipe.model.model_dump(exclude={"lora", "start_from"}),
            "base": self.base_digests,
            "as_sampled": self.recipe.sample.model_dump(include=_AS_SAMPLED),
            "sources": self._sources,
            "own_code": own_code(_named(self.recipe.evaluate, self.evaluators)),
            "code": store.code_version(),
            "versions": store.versions(),
        }
        return KeptValues(self.shared.cache, inputs, base)

    # --- its models -------------------------------------------------------------------------

    def model(self, generation: int) -> LanguageModel:
        """A generation's model, as it was committed."""
        if self._fitted is None or self._fitted[0] != generation:
            folder = self.folder.stage("model", generation)
            self._fitted = (generation, self.base.load(folder))
        return self._fitted[1]

    def _model_named(self, name: Name) -> LanguageModel:
        if name is None:
            return self.base
        assert isinstance(name, int), "a generation"
        return self.model(name)

    def close_model(self) -> None:
        """Forget the model that is open: so a population holds one model at a time."""
        if self.relatives is not None:
            self._fitted = None

    # --- what its stages are made of --------------------------------------------------------

    @property
    def own_code(self) -> dict[str, str]:
        """SHA-256 of the source files of the user's own filters and evaluators."""
        evaluators = _named(self.recipe.evaluate, self.evaluators)
        return own_code([*self.filters, *self.crawl_filters, *evaluators])

    @property
    def ids(self) -> str:
        """What the ids of sampled documents begin with."""
        return "" if self.folder.member is None else f"m{self.folder.member}-"

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Count the target tokens of each text, `(texts,)` int32."""
        return np.array([len(ids) for ids in self.base.encode(texts)], np.int32)

    def prompts(self) -> Callable[[int], str] | None:
        """Return the prompt of each sampled document, by its number; None without prompts."""
        sample = self.recipe.sample
        if sample.prompt == "none":
            return None
        return human_prompts(self.base, self.run.human, sample.prompt_tokens, self.recipe.seed)

    # --- what others read of it -------------------------------------------------------------

    def digest(self, stage: str, generation: int | None = None) -> str:
        """SHA-256 of the files that a stage has committed."""
        return self.stages.digest(stage, generation)

    def is_committed(self, stage: str, generation: int) -> bool:
        """Whether a stage is there."""
        return self.stages.manifest(stage, generation) is not None

    def filter_named(self, name: str) -> tuple[int, Any]:
        """The place of a filter in `curate`, and the filter, or its matched random control."""
        return next(
            (place, part)
            for place, (each, part) in enumerate(self.filters)
            if each.removeprefix(TWIN) == name
        )

    def context_of_filter(self, generation: int, position: int, name: str) -> Context:
        """What a filter is given that judges the text of several members."""
        return self.contexts.of_filter(generation, {}, position, name)


def own_code(components: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Return digests of the source of those components, and scorers, that are the user's own."""
    digests = {}
    for _, component in components:
        part = getattr(component, "twin_of", component)
        if not (getattr(part, "__module__", "") or "").startswith("textmad."):
            digests[component_name(part)] = store.source_digest(part)
        if (scorer := getattr(part, "scorer", None)) is not None:
            digests |= own_scorer_sources(scorer)
    return digests


def _named(components: Sequence[Component], parts: Sequence[Any]) -> list[tuple[str, Any]]:
    """Each filter or evaluator with its name in the recipe."""
    return [(c.name, part) for c, part in zip(components, parts, strict=True)]
