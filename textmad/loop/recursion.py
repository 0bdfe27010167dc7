"""The loop. Everything else in textmad is something that it calls.

    run(recipe, out)
      Recursion.fit(generation)           inputs, compute, write: what this stage is
        Stages.complete(Stage(...))       is it committed from the same inputs? else compute it
          CausalLM.fit(...)               computes; other stages call mixture, curation, evaluators
          store.commit(folder, ...)       writes it whole, or not at all

Each stage reads what earlier stages have committed to disk, and commits its result. So a run that
was interrupted anywhere goes on where it stopped, several processes share one run, and every result
can be inspected in the file that it came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from textmad import mixture, store
from textmad.corpus import Corpus, corpus_digest, open_corpus
from textmad.curation.protocol import Context, apply_filters
from textmad.curation.score_mixture import own_scorer_sources
from textmad.errors import RecipeError
from textmad.evaluators import measure
from textmad.evaluators.held_out import held_out_losses
from textmad.loop.contexts import ContextBuilder, Records, source_digests
from textmad.loop.crawl import build_crawl, treat_as_human, with_label
from textmad.loop.feasibility import check_corpus, check_kept_text, check_tracker
from textmad.loop.generation_io import as_documents, as_samples, human_prompts, sample_more
from textmad.loop.judged_text import judged_text
from textmad.loop.population import Population, Relatives
from textmad.loop.run import Run
from textmad.loop.side_by_side import side_by_side
from textmad.loop.stages import Stage, Stages
from textmad.loop.tracking import tracking
from textmad.models.distributed import processes
from textmad.models.distributed.distributed_scoring import DistributedScorer, Name
from textmad.models.opening import open_model
from textmad.models.protocol import (
    FitResult,
    LanguageModel,
    Sample,
    SupportsOtherSettings,
    preferring,
)
from textmad.progress import Progress, SilentProgress
from textmad.recipe import ModelSettings, PreferenceSettings, Recipe
from textmad.recipe.components import TWIN, Component, component_name
from textmad.seeds import stream, torch_seed
from textmad.text import documents

if TYPE_CHECKING:
    from datasets import Dataset


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: Progress | None = None,
    num_processes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    shared: store.SharedStages | None = None,
    jobs: int = 1,
) -> Run:
    """Run a recipe into the folder `out`, or go on with the run that stands there.

    >>> import textmad as tm
    >>> run = tm.run(tm.Recipe(generations=2), out="runs/short")  # doctest: +SKIP

    Args:
        recipe: what to run.
        out: the run folder; created where it is missing.
        progress: told what is being done; silent by default.
        num_processes: how many processes are expected; another number is an error.
        overrides: recorded in the provenance beside the resolved recipe.
        shared: stages that other runs of a study have committed, to be taken over.
        jobs: of a population, how many members are computed at a time, each in a process of its
            own. A script that asks for more than 1 calls `run` below `if __name__ == "__main__":`.

    Raises:
        TextmadError: see `textmad.errors`. What was committed before stays and is used again.
    """
    check_kept_text(recipe)
    check_tracker(recipe)
    progress = progress or SilentProgress()
    begin = begun(recipe, Path(out), progress, num_processes, overrides, shared)
    with (
        begin as loop,
        tracking(recipe, loop.run) as tracker,
        side_by_side(Recursion, recipe, loop.folder.path, shared, jobs) as advance,
    ):
        loop.corpus()
        loop.base_text()
        for generation in range(recipe.generations + 1):
            loop.begin_generation(generation)
            for member in loop.members:
                if recipe.crawls(generation):
                    member.crawl(generation)
                member.mix(generation)
            advance(generation)
            for number in range(len(loop.members)):
                loop.advance(number, generation)
            loop.end_generation(generation)
            tracker.send(generation)
        loop.finish()
    return Run(out)


class Recursion:
    """The stages of one model. Each is computed once, committed, and from then on read.

    A run of one model is one `Recursion`. In a population each member has one, over its own part of
    the run folder, and that of the run makes what all share: the corpus, and the base model's text.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: store.RunFolder,
        progress: Progress,
        shared: store.SharedStages | None = None,
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
        source_digests(self.evaluators)  # which says now what is missing
        self.run = run if run is not None else Run(folder.path)  # what is committed so far
        # Of what the base model consists of and, where it is the user's own, of its code.
        self.base_digests = {"base": self.base.digest, **_own_code([(self.base.name, self.base)])}
        if recipe.model.dtype == "auto":  # a machine that chooses otherwise gives other numbers
            self.base_digests["number type"] = getattr(self.base, "number_type", "float32")
        self._fitted: tuple[int, LanguageModel] | None = None
        self._relatives: Relatives | None = None  # of a member of a population
        scorer = DistributedScorer(self._model_named)
        # The runs of a study ask the same people, on one page, who cannot tell the arms apart.
        votes_folder = folder.path if shared is None else shared.study
        name = "" if shared is None else shared.run
        self._contexts = ContextBuilder(recipe, self.run, self.base, scorer, votes_folder, name)
        self._stages = Stages(
            folder, recipe.seed, self.base_digests, scorer, progress, shared, self.run.community
        )

    @property
    def digests_of_bases(self) -> dict[str, str]:
        """`base_digests`, and those of members with a base model of their own."""
        return self.base_digests | {
            f"base of member {member.folder.member}": member.base.digest
            for member in self.members
            if member.base.digest != self.base.digest
        }

    @property
    def members(self) -> Sequence[Recursion]:
        """The members of a population; the recursion itself where the run is one model's."""
        return self._members_together[0]

    @property
    def _population(self) -> Population | None:
        return self._members_together[1]

    @cached_property
    def _members_together(self) -> tuple[Sequence[Recursion], Population | None]:
        """The members and their population: no member works without the others."""
        if self.recipe.population is None:
            return [self], None
        members = make_members(self)
        return members, make_population(self, members)

    @property
    def own_code(self) -> dict[str, str]:
        """SHA-256 of the source files of the user's own filters and evaluators."""
        evaluators = _named(self.recipe.evaluate, self.evaluators)
        return _own_code([*self.filters, *self.crawl_filters, *evaluators])

    def corpus(self) -> None:
        """Read human text, clean it, and split it into the training pool and held-out text."""
        inputs = {
            "corpus": self.recipe.corpus.model_dump(),
            "source": corpus_digest(self.recipe.corpus),
            "part": self.recipe.corpus_part,  # seeds of one part share the stage
        }

        def check(human: Dataset) -> None:
            filters = [part for _, part in (*self.filters, *self.crawl_filters)]
            check_corpus(self.recipe, filters, human)

        def compute() -> Corpus:
            corpus = open_corpus(
                self.recipe.corpus,
                self._count_tokens,
                self.recipe.corpus_part,
                read_back=getattr(self.base, "read_back", None),  # a toy's words come back
            )
            check(corpus.human)
            return corpus

        def write(corpus: Corpus, folder: Path) -> None:
            documents.write_parquet(corpus.human, folder / "human.parquet")
            documents.write_parquet(corpus.held_out, folder / "held_out.parquet")
            _write_json(corpus.report, folder / "corpus.json")

        def accept(folder: Path) -> None:
            check(documents.read_parquet(folder / "human.parquet"))

        self._stages.complete(Stage(store.CORPUS, None, inputs, compute, write, accept=accept))
        check(self.run.human)  # which was enough for the generations that were asked for before
        if self._population is not None:
            self._population.check_corpus()

    def base_text(self) -> None:
        """Sample text from the base model: what a generation's text is compared with.

        A base model that cannot write (a toy that has learned nothing) gives none. Members of a
        population whose settings are their own have it sampled by these.
        """
        for member in self.members:
            if member.folder.has_own_base_text and member is not self:
                member.base_text()
        settings, prompts = self.recipe.sample, self._prompts()
        num_tokens = mixture.base_tokens_drawn(self.recipe.mix, settings)
        inputs = {
            "sample": settings.model_dump(exclude={"oversample", "min_tokens"}),
            "base_tokens": num_tokens,  # not `num_tokens`, which a run may later ask more of
            "author": self.base.name,
            "corpus": self._stages.digest("corpus") if prompts else None,
        }

        def compute() -> Dataset:
            samples: list[Sample] = []
            if getattr(self.base, "can_write", True):
                samples = self.base.sample(
                    settings,
                    num_tokens=num_tokens,
                    stream=lambda i: stream(self.recipe.seed, "sample", "base", i),
                    prompt=prompts,
                    advance=self.progress.advance,
                )
            ids = f"base-{self._ids}"
            return as_documents(samples, -1, self.base.name, prompts, ids=ids)

        def write(candidates: Dataset, folder: Path) -> None:
            documents.write_parquet(candidates, folder / "candidates.parquet")

        self._stages.complete(Stage(store.BASE, None, inputs, compute, write, total=num_tokens))

    def crawl(self, generation: int) -> None:
        """Find human text after models have begun to write: some is theirs; crawl filters judge.

        Where `crawl.oversample` was raised since, the crawl is made anew, unless the generation has
        learned from it.
        """
        recipe, manifest = self.recipe, self._stages.manifest("crawl", generation)
        assert recipe.crawl is not None
        is_learned_from = self._stages.manifest("mix", generation) is not None
        if manifest is not None and is_learned_from:
            made_with = {"oversample": manifest.inputs["crawl"]["oversample"]}
            crawl_settings = recipe.crawl.model_copy(update=made_with)
            recipe = recipe.model_copy(update={"crawl": crawl_settings})
        inputs = {
            "crawl": recipe.dump()["crawl"],
            "mix": self.recipe.mix.model_dump(),
            "corpus": self._stages.digest("corpus"),
            "cleaning": self.recipe.corpus.model_dump(),  # posted text goes through it too
            "model": self._stages.digest("model", generation - 1),
            "curate": [self._stages.digest("curate", earlier) for earlier in range(generation)],
            "earlier": [self._stages.digest("crawl", earlier) for earlier in range(1, generation)],
        }
        records: Records = {}

        def compute() -> Dataset:
            kept = self.run.kept(generation - 1)
            crawl = build_crawl(recipe, generation, self.run.human, kept, self._count_tokens)
            context = partial(self._contexts.of_crawl_filter, generation, crawl, records)
            judged = apply_filters(crawl.as_human, self.crawl_filters, context, every_score=True)
            return crawl.revealed(judged)

        def write(crawled: Dataset, folder: Path) -> None:
            _write_judged(crawled, records, folder)

        stage = Stage(
            "crawl",
            generation,
            inputs,
            compute,
            write,
            main_only=True,
            own_code=_own_code(self.crawl_filters),
        )
        if manifest is not None and manifest.inputs["crawl"] != inputs["crawl"]:
            self._stages.extend(stage, [])
        else:
            self._stages.complete(stage)

    def mix(self, generation: int) -> None:
        """Make the training set of human text and of what earlier generations have kept."""
        inputs: dict[str, Any] = {
            "mix": self.recipe.mix.model_dump(),
            "corpus": self._stages.digest("corpus"),
        }
        if generation == 0:  # human text only: how later generations mix makes no difference
            inputs["mix"] = {"human_tokens": mixture.training_tokens(self.recipe.mix, 0)}
        learns = bool(self.recipe.mix.model_tokens) and generation > 0
        if self._relatives is None:
            learned_from = range(generation) if learns else ()
            inputs["curate"] = [self._stages.digest("curate", earlier) for earlier in learned_from]
        else:
            inputs["parents"] = self._relatives.inputs_of_mix(generation) if learns else []
        if self.recipe.crawls(generation):
            inputs["crawl"] = [self._stages.digest("crawl", g) for g in range(1, generation + 1)]

        def compute() -> mixture.Mixture:
            is_crawled = self.recipe.crawls(generation)
            kept = [documents.empty()] * generation
            for g in self._learned_generations(generation):
                texts = self.run.kept(g)
                kept[g] = with_label(texts, self.run.crawl(g + 1)) if is_crawled else texts
            crawled = None
            if is_crawled:
                crawled = treat_as_human(self.recipe.mix, generation, self.run.crawl(generation))
            sources = None
            if self._relatives is not None:
                sources = self._relatives.sources(generation) if learns else []
            return mixture.mix(
                self.recipe.mix,
                generation,
                self.run.human,
                kept,
                self.recipe.seed,
                crawled,
                sources,
            )

        def write(mixed: mixture.Mixture, folder: Path) -> None:
            documents.write_parquet(mixed.documents, folder / "training.parquet")
            _write_json(mixed.counts(), folder / "mix.json")

        self._stages.complete(Stage("mix", generation, inputs, compute, write))

    def fit(self, generation: int) -> None:
        """Train the base model, or the previous generation's model, on the training set."""
        train, preference = self.recipe.train, self._preference(generation)
        imitates = preference is None or not preference.instead_of_imitation
        if self._relatives is not None:
            imitates = imitates and self._relatives.learns(generation)
        previous = generation - 1 if self._continues(generation) else None
        inputs = {
            "model": self.recipe.model.model_dump(exclude={"start_from"}),  # see `previous`
            "train": train.model_dump(exclude={"preference"}),
            "mix": self._stages.digest("mix", generation) if imitates else None,
            "previous": None if previous is None else self._stages.digest("model", previous),
        }
        if self._relatives is not None:
            inputs |= self._relatives.inputs_of_fit(generation)
        if preference is not None:
            inputs["preference"] = preference.model_dump()
            inputs["judged"] = self._stages.digest("curate", generation - 1)

        def compute() -> tuple[FitResult, dict[str, Any]]:
            if self._relatives is not None:
                start = self._relatives.starting_model(generation)
            else:
                start = self.base if previous is None else self.model(previous)
            fitted = FitResult(start, [])
            if imitates:
                fitted = start.fit(
                    self.run.training(generation),
                    train,
                    seed=torch_seed(self.recipe.seed, "fit", generation),
                    advance=self.progress.advance,
                )
            report: dict[str, Any] = {"curve": fitted.curve}
            if preference is not None:
                judged = judged_text(self.recipe, generation, self.run.candidates(generation - 1))
                preferred = preferring(fitted.model).prefer(
                    judged.documents,
                    train,
                    seed=torch_seed(self.recipe.seed, "preference", generation),
                    advance=self.progress.advance,
                )
                report["preference"] = {**judged.counts, "curve": preferred.curve}
                fitted = FitResult(preferred.model, fitted.curve)
            return fitted, report

        def write(result: tuple[FitResult, dict[str, Any]], folder: Path) -> None:
            fitted, report = result
            fitted.model.save(folder)
            _write_json(report, folder / "training.json")

        num_tokens = mixture.training_tokens(self.recipe.mix, generation) if imitates else 0
        total = round(num_tokens * train.epochs)
        if preference is not None:
            judged_tokens = mixture.model_tokens_drawn(self.recipe.mix, self.recipe.sample)
            total += round(judged_tokens * preference.epochs)
        self._stages.complete(Stage("model", generation, inputs, compute, write, total=total))

    def sample(self, generation: int) -> None:
        """Sample candidates from the model.

        Where `sample.oversample` was raised since, sampling goes on behind the documents that are
        there, unless a later generation has learned from them.
        """
        settings = self.recipe.sample
        prompts = self._prompts()
        manifest = self._stages.manifest("sample", generation)
        num_tokens = mixture.model_tokens_drawn(self.recipe.mix, settings, self.recipe.crawl)
        if manifest is not None and self._is_learned(generation + 1):
            num_tokens = manifest.inputs["num_tokens"]
        inputs = {
            "sample": settings.model_dump(exclude={"oversample", "min_tokens"}),  # see `num_tokens`
            "num_tokens": num_tokens,
            "author": self.base.name,
            "model": self._stages.digest("model", generation),
            "corpus": self._stages.digest("corpus") if prompts else None,
        }

        def compute() -> Dataset:
            before = [] if manifest is None else as_samples(self.run.sampled(generation))
            samples = sample_more(
                self.model(generation),
                settings,
                before,
                num_tokens=num_tokens,
                stream=lambda i: stream(self.recipe.seed, "sample", generation, i),
                prompt=prompts,
                advance=self.progress.advance,
            )
            return as_documents(samples, generation, self.base.name, prompts, ids=self._ids)

        def write(candidates: Dataset, folder: Path) -> None:
            documents.write_parquet(candidates, folder / "candidates.parquet")

        total = num_tokens - (0 if manifest is None else manifest.inputs["num_tokens"])
        stage = Stage("sample", generation, inputs, compute, write, total=total)
        if manifest is not None and total > 0:
            if self._relatives is not None and processes.is_main():
                self._relatives.discard_mixtures(generation + 1)
            self._stages.extend(stage, self._made_from_sample(generation))
        else:
            self._stages.complete(stage)

    def curate(self, generation: int) -> None:
        """Apply the filters in order: every candidate gets its verdict, kept or not."""
        inputs = {
            "curate": [component.dump() for component in self.recipe.curate],
            "model": self._stages.digest("model", generation),
            "sample": self._stages.digest("sample", generation),
            "earlier": [self._stages.digest("curate", earlier) for earlier in range(generation)],
            "corpus": self._stages.digest("corpus"),
        }
        records: Records = {}

        def compute() -> Dataset:
            def context(position: int, name: str) -> Context:
                self.progress.advance(min(position, 1))  # the filter before this one is done
                return self._contexts.of_filter(generation, records, position, name)

            judged = apply_filters(self.run.sampled(generation), self.filters, context)
            self.progress.advance(min(len(self.filters), 1))
            return judged

        def write(candidates: Dataset, folder: Path) -> None:
            _write_judged(candidates, records, folder)

        self._stages.complete(
            Stage(
                "curate",
                generation,
                inputs,
                compute,
                write,
                total=len(self.filters),
                unit="filters",
                main_only=True,
                own_code=_own_code(self.filters),
            )
        )

    def evaluate(self, generation: int) -> None:
        """Measure the model on held-out text, and its text beside as much human text.

        Evaluators that were added to a run measure in a stage of their own, behind those before.
        """
        pending = {
            store.canonical(component.dump()): (component, evaluator)
            for component, evaluator in zip(self.recipe.evaluate, self.evaluators, strict=True)
        }
        stages = {
            stage: manifest
            for stage in self.folder.evaluate_stages(generation)
            if (manifest := self._stages.manifest(stage, generation)) is not None
        }
        for stage, manifest in stages.items():
            keys = [store.canonical(part) for part in manifest.inputs["evaluate"]]
            self._measure(generation, stage, [pending.pop(key) for key in keys])
        if pending or not stages:
            free = next(name for name in map(store.evaluate_stage, count(1)) if name not in stages)
            self._measure(generation, free, list(pending.values()))

    def _measure(
        self, generation: int, stage: str, evaluators: Sequence[tuple[Component, Any]]
    ) -> None:
        """Measure a generation by some of the evaluators, in one stage."""
        named = [(component.name, evaluator) for component, evaluator in evaluators]
        inputs = {
            "evaluate": [component.dump() for component, _ in evaluators],
            "min_tokens": mixture.compared_tokens(self.recipe.mix, self.recipe.sample),
            "corpus": self._stages.digest("corpus"),
            "base text": self._stages.digest(store.BASE),
            **{name: self._stages.digest(name, generation) for name in ("mix", "model", "curate")},
        }
        if sources := source_digests([evaluator for _, evaluator in named]):
            inputs["sources"] = sources
        if self.recipe.crawls(generation):
            inputs["crawl"] = self._stages.digest("crawl", generation)

        held_out_tokens = [
            part.held_out_tokens for _, part in named if hasattr(part, "held_out_tokens")
        ]

        def compute() -> tuple[pa.Table, pa.Table | None]:
            rows, losses = [], None
            if named:  # else nobody asks for the snapshot
                snapshot = self._contexts.of_evaluator(generation)
                for name, evaluator in named:
                    rows += [
                        {"generation": generation, "evaluator": name, **vars(measurement)}
                        for measurement in measure(name, evaluator, snapshot)
                    ]
                    self.progress.advance(1)
                if held_out_tokens:
                    losses = held_out_losses(snapshot, max(held_out_tokens))
            return pa.Table.from_pylist(rows, store.METRICS_SCHEMA), losses

        def write(measured: tuple[pa.Table, pa.Table | None], folder: Path) -> None:
            metrics, losses = measured
            pq.write_table(metrics, folder / "metrics.parquet")
            if losses is not None:
                pq.write_table(losses, folder / store.HELD_OUT_LOSSES)

        self._stages.complete(
            Stage(
                stage,
                generation,
                inputs,
                compute,
                write,
                total=len(named),
                unit="evaluators",
                main_only=True,
                own_code=_own_code(named),
            )
        )

    def finish(self) -> None:
        """All generations' metrics in one file."""
        if processes.is_main():
            self.folder.keep_metrics(self.run.metrics_table)
        processes.barrier()

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
        if self._relatives is not None:
            self._fitted = None

    # --- generations of a population --------------------------------------------------------

    def advance(self, number: int, generation: int) -> None:
        """Compute what a member does in a generation when all members' mixtures are there."""
        member = self.members[number]
        member.fit(generation)
        member.sample(generation)
        member.curate(generation)
        member.evaluate(generation)
        member.close_model()

    def begin_generation(self, generation: int) -> None:
        """Choose whose children the members of this generation are."""
        if self._population is not None:
            self._population.select(generation - 1)

    def end_generation(self, generation: int) -> None:
        """Measure all members of this generation together."""
        if self._population is not None:
            self._population.measure(generation)

    def join(self, population: Population, member: int) -> None:
        """Become a member of a population."""
        self._relatives = Relatives(population, member)

    def digest(self, stage: str, generation: int | None = None) -> str:
        """SHA-256 of the files that a stage has committed."""
        return self._stages.digest(stage, generation)

    def is_committed(self, stage: str, generation: int) -> bool:
        """Whether a stage is there."""
        return self._stages.manifest(stage, generation) is not None

    def filter_named(self, name: str) -> tuple[int, Any]:
        """The place of a filter in `curate`, and the filter, or its matched random control."""
        return next(
            (place, part)
            for place, (each, part) in enumerate(self.filters)
            if each.removeprefix(TWIN) == name
        )

    def context_of_filter(self, generation: int, position: int, name: str) -> Context:
        """What a filter is given that judges the text of several members."""
        return self._contexts.of_filter(generation, {}, position, name)

    # --- what the stages are made of --------------------------------------------------------

    @property
    def _ids(self) -> str:
        """What the ids of sampled documents begin with."""
        return "" if self.folder.member is None else f"m{self.folder.member}-"

    def _learned_generations(self, generation: int) -> range:
        """The generations whose kept text this model's mixture takes; in a population none."""
        if self._relatives is not None or not self.recipe.mix.model_tokens:
            return range(0)
        first = generation - 1 if self.recipe.mix.model == "latest" else 0
        return range(max(first, 0), generation)

    def _is_learned(self, generation: int) -> bool:
        """Whether this generation has been made from what was kept before it."""
        if self._relatives is not None:
            return self._relatives.is_learned(generation)
        return self.is_committed("mix", generation)

    def _made_from_sample(self, generation: int) -> list[tuple[str, int]]:
        """The stages that a longer sample makes anew, the last first."""
        evaluate = [(name, generation) for name in self.folder.evaluate_stages(generation)]
        return [("crawl", generation + 1), *reversed(evaluate), ("curate", generation)]

    def _continues(self, generation: int) -> bool:
        return self.recipe.model.start_from == "previous" and generation > 0

    def _preference(self, generation: int) -> PreferenceSettings | None:
        """How a generation learns by preference: the first has no judged text to learn from."""
        return self.recipe.train.preference if generation > 0 else None

    def _count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(ids) for ids in self.base.encode(texts)], np.int32)

    def _prompts(self) -> Callable[[int], str] | None:
        sample = self.recipe.sample
        if sample.prompt == "none":
            return None
        return human_prompts(self.base, self.run.human, sample.prompt_tokens, self.recipe.seed)


def make_members(loop: Recursion) -> list[Recursion]:
    """Make the members of a population. Where base models are the same, they are opened once."""
    settings = loop.recipe.population
    assert settings is not None, "a run of one model"
    bases: list[tuple[ModelSettings, LanguageModel]] = [(loop.recipe.model, loop.base)]
    members = []
    for number in range(settings.members):
        recipe = loop.recipe.of_member(number)
        base = _base_of(recipe, bases)
        bases.append((recipe.model, base))
        has_own_base_text = loop.recipe.has_own_base_text(number)
        folder = store.RunFolder(loop.folder.path, number, has_own_base_text)
        run = loop.run.members[number]
        members.append(Recursion(recipe, folder, loop.progress, loop.shared, base, run))
    return members


def make_population(loop: Recursion, members: Sequence[Recursion]) -> Population:
    """Bring the members together: each can read of the others from now on."""

    def find(name: Name) -> LanguageModel:
        if name is None:
            return loop.base
        assert isinstance(name, tuple), "a member's model has two numbers"
        generation, number = name
        for other in members:
            if other is not members[number]:
                other.close_model()  # one model at a time
        return members[number].model(generation)

    scorer, shared = DistributedScorer(find), loop.shared
    stages = Stages(loop.folder, loop.recipe.seed, loop.base_digests, scorer, loop.progress, shared)
    population = Population(loop.recipe, loop.run, stages, loop.base, members)
    for number, member in enumerate(members):
        member.join(population, number)
    return population


def _base_of(
    recipe: Recipe, opened: Sequence[tuple[ModelSettings, LanguageModel]]
) -> LanguageModel:
    """The base model of a member: one that is open, that one with another adapter, or a new one."""
    for settings, base in opened:
        if settings == recipe.model:
            return base
    for settings, base in opened:
        of_weights = ("base", "revision", "dtype")
        is_same = all(getattr(settings, name) == getattr(recipe.model, name) for name in of_weights)
        if is_same and isinstance(base, SupportsOtherSettings):
            return base.with_settings(recipe.model)
    return open_model(recipe.model, recipe.sample)


@contextmanager
def begun(
    recipe: Recipe,
    out: Path,
    progress: Progress,
    num_processes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    shared: store.SharedStages | None = None,
) -> Iterator[Recursion]:
    """The loop over a run folder that this run's first process has locked."""
    running = processes.world_size()
    if num_processes is not None and num_processes != running:
        raise RecipeError(
            f"--processes {num_processes}: this run has {running}: on CPU `accelerate launch` "
            "starts one whatever it is told; use `torchrun --nproc-per-node N -m textmad run ...`"
        )
    with store.begin(out, recipe) if processes.is_main() else nullcontext():
        processes.barrier()
        loop = Recursion(recipe, store.RunFolder(out), progress, shared)
        if processes.is_main():
            loop.folder.keep_session(
                device=str(processes.device()),
                processes=running,
                cpu_threads=torch.get_num_threads(),
                overrides=overrides or {},
                digests=loop.digests_of_bases,
                extent=store.Extent.of(recipe),
                own_code=loop.own_code,
            )
        processes.barrier()
        yield loop


def _named(components: Sequence[Component], parts: Sequence[Any]) -> list[tuple[str, Any]]:
    """Each filter or evaluator with its name in the recipe."""
    return [(c.name, part) for c, part in zip(components, parts, strict=True)]


def _own_code(components: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Digests of the source of those components, and their scorers, that are the user's own."""
    digests = {}
    for _, component in components:
        part = getattr(component, "twin_of", component)
        if not (getattr(part, "__module__", "") or "").startswith("textmad."):
            digests[component_name(part)] = store.source_digest(part)
        if (scorer := getattr(part, "scorer", None)) is not None:
            digests |= own_scorer_sources(scorer)
    return digests


def _write_judged(judged: Dataset, records: Records, folder: Path) -> None:
    documents.write_parquet(judged, folder / "candidates.parquet")
    if records:
        _write_json(records, folder / store.RECORDS)


def _write_json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
