"""`textmad plan`: everything that can be known before spending."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from textmad import mixture
from textmad.corpus import Corpus, open_corpus
from textmad.curation import Detector, Discriminator
from textmad.detection import Method
from textmad.documents import token_counts
from textmad.errors import TextmadError
from textmad.evaluators import Detection, Embedding, Perplexity, RareTokens
from textmad.models import LanguageModel, open_model
from textmad.recipe import Recipe
from textmad.seeds import stream
from textmad.store import stage_key
from textmad.studies import Study

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")

_PROBE_TOKENS = 3_000  # enough to time, little enough to wait for
# Measured on runs of the quickstart; columns and manifests included.
_BYTES_A_TOKEN = 2.5  # of documents in Parquet
_BYTES_A_GENERATION = 60_000  # metrics, manifests, training curve
# How often a text is read to be detected: for cross-perplexity by both models, and for its loss.
_PASSES: dict[Method, int] = {"curvature": 1, "cross_perplexity": 3, "trained": 0}


class Speed(NamedTuple):
    """What a short probe on this machine says."""

    train: float  # tokens a second
    sample: float
    score: float
    model_bytes: int  # of one saved model
    finished: float = 1.0  # share of the drawn tokens that are in documents with an end


class CrawlPlan(NamedTuple):
    """What one generation crawls as human text."""

    tokens: int
    unlabelled_tokens: int  # of these, a model's
    kept_share: float  # of the documents, by the guards that keep a fixed share
    needed_tokens: int

    def to_text(self) -> str:
        """A line of the plan."""
        kept = round(self.tokens * self.kept_share)
        return (
            f"crawling       {self.tokens:,} tokens a generation, {self.unlabelled_tokens:,} of "
            f"them a model's; keeping at most about {kept:,}, {self.needed_tokens:,} needed"
            + _shortage(kept, self.needed_tokens, self.kept_share, "crawl")
        )


@dataclass(frozen=True)
class Plan:
    """What a run will take; the estimate of time is from a short probe on this machine."""

    generations: int
    human_documents: int
    human_tokens: int
    held_out_documents: int
    held_out_tokens: int
    human_tokens_needed: int
    trained_tokens: list[int]  # by generation, epochs included
    drawn_tokens: int  # by each generation
    kept_share: float  # of the documents, by the filters that keep a fixed share
    model_tokens: int  # kept tokens that the next mixture needs
    scored_tokens: int  # in all, by evaluators and filters
    opening_seconds: float  # that model and corpus took just now, as they will in the run
    speed: Speed
    crawl: CrawlPlan | None = None  # of each generation from 1 on

    @property
    def stages(self) -> int:
        """Folders that will be committed."""
        return 1 + 5 * (self.generations + 1) + (self.generations if self.crawl else 0)

    @property
    def disk_bytes(self) -> int:
        """Estimated size of the run folder."""
        texts = self.human_tokens + self.held_out_tokens + sum(self.trained_tokens)
        drawn = 2 * self.drawn_tokens * (self.generations + 1)
        crawled = self.crawl.tokens * self.generations if self.crawl else 0
        others = (self.speed.model_bytes + _BYTES_A_GENERATION) * (self.generations + 1)
        return others + round((texts + drawn + crawled) * _BYTES_A_TOKEN)

    @property
    def seconds(self) -> float:
        """Estimated time of opening, training, sampling and scoring."""
        return (
            self.opening_seconds
            + sum(self.trained_tokens) / self.speed.train
            + self.drawn_tokens * (self.generations + 1) / self.speed.sample
            + self.scored_tokens / self.speed.score
        )

    @property
    def kept_tokens(self) -> int:
        """Tokens that the filters with a fixed share leave of what a generation draws, about."""
        return round(self.drawn_tokens * self.kept_share)

    @property
    def postable_tokens(self) -> int:
        """Of these the ones in documents with an end: no others are posted without a label."""
        return round(self.kept_tokens * self.speed.finished)

    def to_text(self) -> str:
        """A line a fact."""
        return "\n".join(
            [
                f"generations    0 to {self.generations}, {self.stages} stages",
                f"human text     {self.human_documents:,} documents, {self.human_tokens:,} tokens; "
                f"{self.human_tokens_needed:,} needed",
                f"held-out       {self.held_out_documents:,} documents, "
                f"{self.held_out_tokens:,} tokens",
                f"training       {_each(self.trained_tokens)} tokens a generation, "
                f"{sum(self.trained_tokens):,} in all ({self.speed.train:,.0f} a second here)",
                f"drawing        {self.drawn_tokens:,} tokens a generation "
                f"({self.speed.sample:,.0f} a second here)",
                f"keeping        at most about {self.kept_tokens:,} of them, "
                f"{self.model_tokens:,} needed{self.shortage()}",
                *([self.crawl.to_text() + self._unposted()] if self.crawl else []),
                f"disk           about {self.disk_bytes / 1e6:,.0f} MB",
                f"time           about {self.seconds / 60:.1f} minutes on this machine, "
                "your own filters and evaluators not counted",
            ]
        )

    def shortage(self) -> str:
        """What to change where the filters leave too little; empty where they do not."""
        return _shortage(self.kept_tokens, self.model_tokens, self.kept_share, "sample")

    def _unposted(self) -> str:
        """The same where a crawl wants more of a model's text than can be posted."""
        if self.crawl is None or self.postable_tokens >= self.crawl.unlabelled_tokens:
            return ""
        if not self.speed.finished:
            return "; NOTHING CAN BE POSTED, no document of the probe ended: raise max_new_tokens"
        times = self.crawl.unlabelled_tokens / (self.kept_share * self.speed.finished)
        return (
            f"; of a model's about {self.postable_tokens:,} are in documents with an end: TOO FEW, "
            f"raise sample.oversample to {_rounded_up(times / self.model_tokens)} or more"
        )


def _shortage(kept: int, needed: int, kept_share: float, group: str) -> str:
    if kept >= needed:
        return ""
    return f": TOO FEW, raise {group}.oversample to {_rounded_up(1 / kept_share)} or more"


def _rounded_up(times: float) -> str:
    return f"{math.ceil(round(10 * times, 6)) / 10:g}"


@dataclass(frozen=True)
class StudyPlan:
    """What a study's runs will take: a plan for each arm, and what the arms share."""

    study: Study
    plans: dict[str, Plan]  # by the arm's name
    shared_seconds: float  # of a seed's runs together

    @property
    def seconds(self) -> float:
        """Estimated time of all runs, one after another."""
        each_seed = sum(plan.seconds for plan in self.plans.values()) - self.shared_seconds
        return each_seed * len(self.study.seeds)

    def to_text(self) -> str:
        """A line an arm, and the sums."""
        num_runs, num_seeds = len(self.study.runs()), len(self.study.seeds)
        stages = sum(plan.stages for plan in self.plans.values()) * num_seeds
        disk = sum(plan.disk_bytes for plan in self.plans.values()) * num_seeds
        width = max(map(len, self.plans))
        return "\n".join(
            [
                *(
                    f"{name:<{width}}  {plan.seconds / 60:5.1f} minutes a run{plan.shortage()}"
                    for name, plan in self.plans.items()
                ),
                f"runs   {len(self.plans)} arms x {num_seeds} seeds = {num_runs}, {stages} stages",
                f"disk   at most about {disk / 1e6:,.0f} MB",
                f"time   about {self.seconds / 60:.1f} minutes one after another on this machine; "
                f"sharing generation 0 saves {self.shared_seconds * num_seeds / 60:.1f} or more",
                *self._searched(),
            ]
        )

    def _searched(self) -> list[str]:
        """What the search for a threshold may come to beside that."""
        search = self.study.search
        if search is None:
            return []
        more = search.settings.arms - len(search.settings.between)
        families = "" if len(search.families) == 1 else f" in each of {len(search.families)} kinds"
        return [
            f"more   up to {more} arms{families}, placed between shares as the figures of these say"
        ]


@dataclass(frozen=True)
class _Opened:
    """What a plan looks at."""

    recipe: Recipe
    model: LanguageModel
    corpus: Corpus
    seconds: float  # that opening both took

    @cached_property
    def speed(self) -> Speed:
        return _probe(self.recipe, self.model, self.corpus.human)


def make_plan(recipe: Recipe) -> Plan:
    """Read the corpus, open the model, check all budgets, and time a short probe.

    Raises:
        TextmadError: whatever would stop the run, as far as it can be known now.
    """
    return _plan(recipe, _open(recipe))


def make_study_plan(study: Study) -> StudyPlan:
    """The same for every arm of a study; arms on the same corpus and model share the probe.

    Raises:
        TextmadError: whatever would stop a run; the message begins with the arm.
    """
    opened: dict[str, _Opened] = {}
    plans: dict[str, Plan] = {}
    shared: dict[str, list[float]] = {}
    for arm in study.arms:
        recipe = arm.recipe
        sample = recipe.sample.model_dump(exclude={"oversample", "min_tokens"})
        probed = [recipe.corpus, recipe.model, recipe.train]
        key = stage_key({"sample": sample, "groups": [group.model_dump() for group in probed]})
        try:
            if key not in opened:
                opened[key] = _open(recipe)
            plan = plans[arm.name] = _plan(recipe, opened[key])
        except TextmadError as error:
            raise type(error)(f"{arm.name}: {error}") from error
        seconds = plan.trained_tokens[0] / plan.speed.train
        shared.setdefault(f"{key} {plan.trained_tokens[0]}", []).append(seconds)
    return StudyPlan(study, plans, sum(sum(seconds[1:]) for seconds in shared.values()))


def _open(recipe: Recipe) -> _Opened:
    from textmad.views import encoder_digests  # which loads torch

    begun = time.perf_counter()
    encoder_digests(recipe.evaluators())  # which have to be there
    model = open_model(recipe.model, recipe.sample)
    corpus = open_corpus(
        recipe.corpus, lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32)
    )
    return _Opened(recipe, model, corpus, time.perf_counter() - begun)


def _plan(recipe: Recipe, opened: _Opened) -> Plan:
    corpus = opened.corpus
    human, held_out = corpus.report["human"], corpus.report["held_out"]
    mixture.check_human_tokens(recipe.mix, recipe.generations, corpus.human, recipe.crawl)
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
        kept_share=_kept_share(recipe.filters()),
        model_tokens=(
            mixture.model_tokens_needed(recipe.mix, recipe.crawl) if recipe.generations else 0
        ),
        scored_tokens=_scored_tokens(
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
        kept_share=_kept_share(recipe.guards()),
        needed_tokens=recipe.mix.human_tokens,
    )


def _kept_share(filters: Sequence[Any]) -> float:
    return math.prod(getattr(judge, "kept_share", 1.0) for judge in filters)


def _scored_tokens(recipe: Recipe, held_out_tokens: int, document_tokens: float) -> int:
    """Tokens that the built-in evaluators and filters have a model score in a whole run."""
    evaluators = recipe.evaluators()
    perplexity = [e.held_out_tokens for e in evaluators if isinstance(e, Perplexity)]
    rare = [e.held_out_tokens for e in evaluators if isinstance(e, RareTokens)]
    # Evaluators of the same size share the scores; the base scores human text once a run.
    each = sum(min(tokens, held_out_tokens) for tokens in {*perplexity, *rare})
    once = 0
    compared = mixture.compared_tokens(recipe.mix, recipe.sample)
    own_text = compared * (2 if recipe.curate else 1)  # drawn, and kept where it is less
    if perplexity:
        each += own_text
        once = min(perplexity[0], held_out_tokens) + compared
    drawn = mixture.model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl)
    each += _read_by(recipe.filters(), drawn, document_tokens)
    if recipe.crawl is not None:
        crawled = mixture.crawl_budget(recipe.mix, recipe.crawl).total
        once += _read_by(recipe.guards(), crawled, document_tokens) * recipe.generations
    detections = [m for e in evaluators if isinstance(e, Detection) for m in e.methods]
    each += sum(_PASSES[m] for m in detections) * (own_text + compared)
    by_base = sum(isinstance(e, Embedding) and e.encoder is None for e in evaluators)
    each += by_base * own_text
    once += by_base * 2 * compared  # human text, and held-out text beside it
    return once + each * (recipe.generations + 1)


def _read_by(filters: Sequence[Any], tokens: int, document_tokens: float) -> int:
    """Tokens of documents that the filters have a model read."""
    read = 0
    for judge in filters:
        if isinstance(judge, Detector):
            read += _PASSES[judge.method] * tokens
        scorer = getattr(judge, "scorer", None)
        if "fluency" in (scorer if isinstance(scorer, Mapping) else [scorer]):
            voted_on = tokens
            if isinstance(judge, Discriminator):
                voted_on = min(tokens, round((judge.budget + judge.check) * document_tokens))
            read += voted_on
    return read


def _probe(recipe: Recipe, model: LanguageModel, human: Dataset) -> Speed:
    """Train, draw and score a little."""
    size = int(np.searchsorted(np.cumsum(token_counts(human)), _PROBE_TOKENS)) + 1
    few = human.select(range(min(max(size, 2), len(human))))  # a variance wants two
    num_tokens = sum(few["tokens"])
    once = recipe.train.model_copy(update={"epochs": 1.0})
    fitted, train_seconds = _timed(lambda: model.fit(few, once, seed=0).model)
    drawn, sample_seconds = _timed(
        lambda: fitted.sample(
            recipe.sample, num_tokens=_PROBE_TOKENS, stream=lambda i: stream(0, "probe", i)
        )
    )
    _, score_seconds = _timed(lambda: fitted.token_nll(few["text"]))
    return Speed(
        train=num_tokens / train_seconds,
        sample=sum(document.tokens for document in drawn) / sample_seconds,
        score=num_tokens / score_seconds,
        model_bytes=_saved_bytes(fitted),
        finished=float(np.average([d.finished for d in drawn], weights=[d.tokens for d in drawn])),
    )


def _saved_bytes(model: LanguageModel) -> int:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def _each(tokens: list[int]) -> str:
    return f"{tokens[0]:,}" if len(set(tokens)) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
