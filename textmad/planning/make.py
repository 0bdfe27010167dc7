"""Making a plan: everything is looked at that a run would look at first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from textmad import mixture
from textmad.corpus import Corpus, open_corpus
from textmad.loop.feasibility import check_corpus, check_kept_text, kept_share
from textmad.models.opening import open_model
from textmad.models.protocol import LanguageModel
from textmad.planning.plan import CrawlPlan, Plan
from textmad.planning.scoring_cost import scored_tokens
from textmad.planning.throughput import Speed, probe
from textmad.recipe import Recipe


@dataclass(frozen=True)
class Opened:
    """What a plan looks at."""

    recipe: Recipe
    model: LanguageModel
    corpus: Corpus
    seconds: float  # that opening both took

    @cached_property
    def speed(self) -> Speed:
        """Probed when it is first asked for."""
        return probe(self.recipe, self.model, self.corpus.human)


def make_plan(recipe: Recipe) -> Plan:
    """Read the corpus, open the model, check all budgets, and time a short probe.

    Raises:
        TextmadError: whatever would stop the run, as far as it can be known now.
    """
    check_kept_text(recipe)
    return plan_of(recipe, open_for(recipe))


def open_for(recipe: Recipe) -> Opened:
    """Open the model and the corpus."""
    begun = time.perf_counter()
    model = open_model(recipe.model, recipe.sample)
    corpus = open_corpus(
        recipe.corpus, lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32)
    )
    return Opened(recipe, model, corpus, time.perf_counter() - begun)


def plan_of(recipe: Recipe, opened: Opened) -> Plan:
    """The plan of a recipe whose corpus, model and training are those of `opened`.

    Arms that share these may measure with other encoders, so it looks for them here.
    """
    from textmad.loop.contexts import encoder_digests  # which loads torch

    encoder_digests(recipe.evaluators())
    corpus = opened.corpus
    human, held_out = corpus.report["human"], corpus.report["held_out"]
    check_corpus(recipe, [*recipe.filters(), *recipe.guards()], corpus.human)
    return Plan(
        generations=recipe.generations,
        human_documents=human["documents"],
        human_tokens=human["tokens"],
        held_out_documents=held_out["documents"],
        held_out_tokens=held_out["tokens"],
        human_tokens_needed=mixture.human_tokens_needed(
            recipe.mix, recipe.generations, recipe.crawl
        ),
        trained_tokens=[
            round(mixture.training_tokens(recipe.mix, generation) * recipe.train.epochs)
            for generation in range(recipe.generations + 1)
        ],
        drawn_tokens=mixture.model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl),
        kept_share=kept_share(recipe.filters()),
        model_tokens=(
            mixture.model_tokens_needed(recipe.mix, recipe.crawl) if recipe.generations else 0
        ),
        scored_tokens=scored_tokens(
            recipe, held_out["tokens"], human["tokens"] / human["documents"]
        ),
        opening_seconds=opened.seconds,
        speed=opened.speed,
        crawl=_crawl_plan(recipe),
    )


def _crawl_plan(recipe: Recipe) -> CrawlPlan | None:
    if recipe.crawl is None or not recipe.generations:
        return None
    budget = mixture.crawl_budget(recipe.mix, recipe.crawl)
    return CrawlPlan(
        tokens=budget.total,
        unlabelled_tokens=budget.model,
        kept_share=kept_share(recipe.guards()),
        needed_tokens=recipe.mix.human_tokens,
    )
