"""Making a plan: everything is looked at that a run would look at first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from textmad import mixture
from textmad.corpus import Corpus, corpus_notes, open_corpus, source_format
from textmad.evaluators.held_out import HeldOutSize, pilot_texts, precision_of, tokens_for
from textmad.loop.feasibility import (
    check_corpus,
    check_kept_text,
    check_members_corpus,
    check_tracker,
    kept_share,
)
from textmad.models.opening import open_model
from textmad.models.protocol import LanguageModel
from textmad.planning.plan import Budget, CrawlPlan, Plan
from textmad.planning.scoring_cost import held_out_sizes, scored_tokens
from textmad.planning.throughput import Rates, Speed, probe
from textmad.planning.work_time import Seconds, timed
from textmad.recipe import Recipe

_UNKNOWN_RATES = Rates(train=1.0, sample=1.0, score=1.0)
_UNKNOWN_SPEED = Speed(_UNKNOWN_RATES, _UNKNOWN_RATES, model_bytes=0)


@dataclass(frozen=True)
class Opened:
    """What a plan looks at."""

    recipe: Recipe
    model: LanguageModel
    corpus: Corpus
    seconds: Seconds  # that opening both took

    @cached_property
    def speed(self) -> Speed:
        """Probed when it is first asked for."""
        return probe(self.recipe, self.model, self.corpus.human)

    @cached_property
    def _pilot_losses(self) -> list[np.ndarray]:
        return list(self.model.token_nll(pilot_texts(self.corpus.held_out)))

    def tokens_for(self, size: HeldOutSize) -> int | None:
        """Return the held-out tokens that a precision needs; None where it is a number."""
        precision = precision_of(size)
        return None if precision is None else tokens_for(precision, self._pilot_losses)


def make_plan(recipe: Recipe, tell: Callable[[str], None] = lambda line: None) -> Plan:
    """Check the budgets, open the model, read the corpus, time a short probe, return the plan.

    Args:
        recipe: what would be run.
        tell: given each line of the plan as soon as it is known; the probe comes last.

    Raises:
        TextmadError: whatever would stop the run, as far as it can be known now.
    """

    def tell_all(lines: list[str]) -> None:
        for line in lines:
            tell(line)

    check_kept_text(recipe)
    tell_all(budget_of(recipe).budget_lines())
    opened = open_for(recipe)
    # What no probe can change comes before it. The speed is filled in behind.
    tell_all(_plan_at(recipe, opened, _UNKNOWN_SPEED).text_lines())
    plan = plan_of(recipe, opened)
    tell_all(plan.time_lines())
    return plan


def open_for(recipe: Recipe) -> Opened:
    """Open the model and the corpus; a missing corpus is seen before the model is opened."""
    check_tracker(recipe)
    source_format(recipe.corpus)

    def read() -> tuple[LanguageModel, Corpus]:
        model = open_model(recipe.model, recipe.sample)
        corpus = open_corpus(
            recipe.corpus,
            lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32),
            recipe.corpus_part,
            read_back=getattr(model, "read_back", None),
        )
        return model, corpus

    (model, corpus), seconds = timed(read)
    return Opened(recipe, model, corpus, seconds)


def plan_of(recipe: Recipe, opened: Opened) -> Plan:
    """Return the plan of a recipe whose corpus, model and training are those of `opened`.

    Arms that share these may measure with other encoders, so it looks for them here.
    """
    from textmad.loop.contexts import source_digests  # which loads torch

    source_digests(recipe.evaluators())
    check_corpus(recipe, [*recipe.filters(), *recipe.crawl_filters()], opened.corpus.human)
    check_members_corpus(recipe, opened.corpus.human)
    return _plan_at(recipe, opened, opened.speed)


def budget_of(recipe: Recipe) -> Budget:
    """Return what a recipe alone tells of its run."""
    return Budget(
        generations=recipe.generations,
        human_tokens_needed=mixture.human_tokens_needed(
            recipe.mix, recipe.generations, recipe.crawl
        ),
        trained_tokens=[
            round(mixture.training_tokens(recipe.mix, generation) * recipe.train.epochs)
            if generation == 0 or not _is_replaced(recipe)
            else 0
            for generation in range(recipe.generations + 1)
        ],
        preferred_tokens=_preferred_tokens(recipe),
        drawn_tokens=mixture.model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl),
        kept_share=kept_share(recipe.filters()),
        model_tokens=(
            mixture.model_tokens_needed(recipe.mix, recipe.crawl) if recipe.generations else 0
        ),
        crawl=_crawl_plan(recipe),
        members=None if recipe.population is None else recipe.population.members,
    )


def _is_replaced(recipe: Recipe) -> bool:
    """Whether later generations learn by preference alone."""
    return recipe.train.preference is not None and recipe.train.preference.instead_of_imitation


def _preferred_tokens(recipe: Recipe) -> int:
    """Tokens of judged text that a later generation learns from at most, epochs included."""
    preference = recipe.train.preference
    if preference is None:
        return 0
    tokens = mixture.model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl)
    if preference.documents is not None:
        tokens = min(tokens, 2 * preference.documents * recipe.sample.max_new_tokens)
    return round(tokens * preference.epochs)


def _plan_at(recipe: Recipe, opened: Opened, speed: Speed) -> Plan:
    human, held_out = opened.corpus.report["human"], opened.corpus.report["held_out"]
    chosen = {
        size: tokens
        for size in held_out_sizes(recipe)
        if (tokens := opened.tokens_for(size)) is not None
    }
    return Plan(
        **vars(budget_of(recipe)),
        human_documents=human["documents"],
        human_tokens=human["tokens"],
        held_out_documents=held_out["documents"],
        held_out_tokens=held_out["tokens"],
        base_tokens=(
            mixture.base_tokens_drawn(recipe.mix, recipe.sample)
            if getattr(opened.model, "can_write", True)
            else 0
        ),
        scored_tokens=scored_tokens(
            recipe, held_out["tokens"], human["tokens"] / human["documents"], chosen
        ),
        chosen_tokens={str(size): tokens for size, tokens in chosen.items()},
        opening=opened.seconds,
        speed=speed,
        notes=tuple(corpus_notes(opened.corpus.report)),
    )


def _crawl_plan(recipe: Recipe) -> CrawlPlan | None:
    if recipe.crawl is None or not recipe.generations:
        return None
    budget = mixture.crawl_budget(recipe.mix, recipe.crawl)
    return CrawlPlan(
        tokens=budget.total,
        unlabelled_tokens=budget.model,
        kept_share=kept_share(recipe.crawl_filters()),
        needed_tokens=recipe.mix.human_tokens,
    )
