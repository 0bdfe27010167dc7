"""The loop. Everything else in textmad is something it calls.

Each stage reads what the stages before it committed to disk, and commits what it returns. So a
run that was interrupted anywhere goes on where it stopped, several processes share one run, and
whoever wonders about a result can open the file it came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from textmad import mixture, store
from textmad.corpus import Corpus, corpus_digest, open_corpus
from textmad.curation.protocol import apply_filters
from textmad.curation.score_mixture import own_scorer_sources
from textmad.errors import RunError
from textmad.evaluators import measure
from textmad.loop.contexts import ContextBuilder, Records, encoder_digests
from textmad.loop.crawl import gather, taken_for_human, with_label
from textmad.loop.generation_io import as_documents, human_prompts
from textmad.loop.stages import Stages
from textmad.models.distributed import processes
from textmad.models.distributed.distributed_scoring import DistributedScorer
from textmad.models.opening import open_model
from textmad.models.protocol import FitResult, LanguageModel, Sample
from textmad.progress import Progress, SilentProgress
from textmad.recipe import Recipe
from textmad.recipe.components import component_name
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
) -> store.Run:
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

    Raises:
        TextmadError: see `textmad.errors`. What was committed before stays and is used again.
    """
    progress = progress or SilentProgress()
    with _begun(recipe, Path(out), progress, num_processes, overrides, shared) as loop:
        loop.corpus()
        for generation in range(recipe.generations + 1):
            if recipe.crawls(generation):
                loop.crawl(generation)
            loop.mix(generation)
            loop.fit(generation)
            loop.sample(generation)
            loop.curate(generation)
            loop.evaluate(generation)
        loop.finish()
    return store.Run(out)


class Recursion:
    """The stages of one run. Each is computed once, committed, and from then on read."""

    def __init__(
        self,
        recipe: Recipe,
        folder: store.RunFolder,
        progress: Progress,
        shared: store.SharedStages | None = None,
    ) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        self.base = open_model(recipe.model, recipe.sample)
        self.evaluators = [(c.name, c.build("evaluator")) for c in recipe.evaluate]
        self.filters = [(c.name, c.build("filter")) for c in recipe.curate]
        guards = recipe.crawl.guard if recipe.crawl else ()
        self.guards = [(c.name, c.build("filter")) for c in guards]
        self.run = store.Run(folder.path)  # what is committed so far
        # Of what the base consists of and, where it is the user's own, of its code.
        self.base_digests = {"base": self.base.digest, **_own_code([(self.base.name, self.base)])}
        self.encoder_digests = encoder_digests([part for _, part in self.evaluators])
        self._fitted: tuple[int, LanguageModel] | None = None
        crew = DistributedScorer(lambda name: self.base if name is None else self.model(name))
        self._views = ContextBuilder(recipe, self.run, self.base, crew)
        self._stages = Stages(folder, recipe.seed, self.base_digests, crew, progress, shared)

    def corpus(self) -> None:
        """Human text in: cleaned, split into the training pool and held-out."""

        def check(human: Dataset) -> None:
            mixture.check_human_tokens(
                self.recipe.mix, self.recipe.generations, human, self.recipe.crawl
            )

        def compute() -> Corpus:
            corpus = open_corpus(self.recipe.corpus, self._count_tokens)
            check(corpus.human)
            return corpus

        def write(corpus: Corpus, folder: Path) -> None:
            documents.write_parquet(corpus.human, folder / "human.parquet")
            documents.write_parquet(corpus.held_out, folder / "held_out.parquet")
            _write_json(corpus.report, folder / "corpus.json")

        self._stages.keep(
            "corpus",
            None,
            {
                "corpus": self.recipe.corpus.model_dump(),
                "source": corpus_digest(self.recipe.corpus),
            },
            compute,
            write,
            accept=lambda folder: check(documents.read_parquet(folder / "human.parquet")),
        )

    def crawl(self, generation: int) -> None:
        """Human text as it is found once models write: some is theirs, and guards look for it."""
        records: Records = {}

        def compute() -> Dataset:
            kept = self.run.kept(generation - 1)
            found = gather(self.recipe, generation, self.run.human, kept, self._count_tokens)
            context = partial(self._views.of_guard, generation, found, records)
            judged = apply_filters(found.shown, self.guards, context, every_score=True)
            return found.revealed(judged)

        def write(crawled: Dataset, folder: Path) -> None:
            _write_judged(crawled, records, folder)

        inputs = {
            "crawl": self.recipe.dump()["crawl"],
            "mix": self.recipe.mix.model_dump(),
            "corpus": self._stages.digest("corpus"),
            "cleaning": self.recipe.corpus.model_dump(),  # posted text goes through it too
            "model": self._stages.digest("model", generation - 1),
            "curate": [self._stages.digest("curate", earlier) for earlier in range(generation)],
            "earlier": [self._stages.digest("crawl", earlier) for earlier in range(1, generation)],
        }
        self._stages.keep(
            "crawl",
            generation,
            inputs,
            compute,
            write,
            main_only=True,
            own_code=_own_code(self.guards),
        )

    def mix(self, generation: int) -> None:
        """Human pool and kept documents of earlier generations: the training set."""

        def compute() -> mixture.Mixture:
            kept = [self.run.kept(earlier) for earlier in range(generation)]
            crawled = None
            if self.recipe.crawls(generation):
                crawled = taken_for_human(self.recipe.mix, generation, self.run.crawl(generation))
                kept = [with_label(texts, self.run.crawl(g + 1)) for g, texts in enumerate(kept)]
            return mixture.mix(
                self.recipe.mix, generation, self.run.human, kept, self.recipe.seed, crawled
            )

        def write(mixed: mixture.Mixture, folder: Path) -> None:
            documents.write_parquet(mixed.documents, folder / "training.parquet")
            _write_json(mixed.counts(), folder / "mix.json")

        inputs = {"mix": self.recipe.mix.model_dump(), "corpus": self._stages.digest("corpus")}
        if generation == 0:  # human text only: how later generations mix makes no difference
            inputs["mix"] = {"human_tokens": mixture.training_tokens(self.recipe.mix, 0)}
        learned_from = range(generation) if self.recipe.mix.model_tokens else ()
        inputs["curate"] = [self._stages.digest("curate", earlier) for earlier in learned_from]
        if self.recipe.crawls(generation):
            inputs["crawl"] = [self._stages.digest("crawl", g) for g in range(1, generation + 1)]
        self._stages.keep("mix", generation, inputs, compute, write)

    def fit(self, generation: int) -> None:
        """The base, or the previous generation's model, learns the training set."""
        previous = generation - 1 if self._continues(generation) else None

        def compute() -> FitResult:
            start = self.base if previous is None else self.model(previous)
            return start.fit(
                self.run.training(generation),
                self.recipe.train,
                seed=torch_seed(self.recipe.seed, "fit", generation),
                advance=self.progress.advance,
            )

        def write(fitted: FitResult, folder: Path) -> None:
            fitted.model.save(folder)
            _write_json({"curve": fitted.curve}, folder / "training.json")

        inputs = {
            "model": self.recipe.model.model_dump(exclude={"start_from"}),  # see `previous`
            "train": self.recipe.train.model_dump(),
            "mix": self._stages.digest("mix", generation),
            "previous": None if previous is None else self._stages.digest("model", previous),
        }
        mixed = mixture.training_tokens(self.recipe.mix, generation)
        total = round(mixed * self.recipe.train.epochs)
        self._stages.keep("model", generation, inputs, compute, write, total=total)

    def sample(self, generation: int) -> None:
        """The model writes: candidates."""
        settings = self.recipe.sample
        num_tokens = mixture.model_tokens_drawn(self.recipe.mix, settings, self.recipe.crawl)
        prompts = self._prompts()

        def compute() -> list[Sample]:
            return self.model(generation).sample(
                settings,
                num_tokens=num_tokens,
                stream=lambda i: stream(self.recipe.seed, "sample", generation, i),
                prompt=prompts,
                advance=self.progress.advance,
            )

        def write(drawn: list[Sample], folder: Path) -> None:
            candidates = as_documents(drawn, generation, self.base.name, prompts)
            documents.write_parquet(candidates, folder / "candidates.parquet")

        inputs = {
            "sample": settings.model_dump(exclude={"oversample", "min_tokens"}),  # see `num_tokens`
            "num_tokens": num_tokens,
            "author": self.base.name,
            "model": self._stages.digest("model", generation),
            "corpus": self._stages.digest("corpus") if prompts else None,
        }
        self._stages.keep("sample", generation, inputs, compute, write, total=num_tokens)

    def curate(self, generation: int) -> None:
        """Filters in order: every candidate with its verdict, kept or not."""
        records: Records = {}
        context = partial(self._views.of_filter, generation, records)

        def write(candidates: Dataset, folder: Path) -> None:
            _write_judged(candidates, records, folder)

        inputs = {
            "curate": [component.dump() for component in self.recipe.curate],
            "model": self._stages.digest("model", generation),
            "sample": self._stages.digest("sample", generation),
            "earlier": [self._stages.digest("curate", earlier) for earlier in range(generation)],
            "corpus": self._stages.digest("corpus"),
        }
        self._stages.keep(
            "curate",
            generation,
            inputs,
            lambda: apply_filters(self._drawn(generation), self.filters, context),
            write,
            main_only=True,
            own_code=_own_code(self.filters),
        )

    def evaluate(self, generation: int) -> None:
        """The model on held-out human text; drawn and kept text beside as much human text."""

        def compute() -> pa.Table:
            rows = []
            if self.evaluators:  # else nobody asks for the snapshot
                snapshot = self._views.of_evaluator(generation)
                rows = [
                    {"generation": generation, "evaluator": name, **vars(measurement)}
                    for name, evaluator in self.evaluators
                    for measurement in measure(name, evaluator, snapshot)
                ]
            return pa.Table.from_pylist(rows, store.METRICS_SCHEMA)

        inputs = {
            "evaluate": [component.dump() for component in self.recipe.evaluate],
            "min_tokens": mixture.compared_tokens(self.recipe.mix, self.recipe.sample),
            "corpus": self._stages.digest("corpus"),
            **{
                stage: self._stages.digest(stage, generation)
                for stage in ("mix", "model", "curate")
            },
        }
        if self.encoder_digests:
            inputs["encoders"] = self.encoder_digests
        if self.recipe.crawls(generation):
            inputs["crawl"] = self._stages.digest("crawl", generation)
        self._stages.keep(
            "evaluate",
            generation,
            inputs,
            compute,
            lambda table, folder: pq.write_table(table, folder / "metrics.parquet"),
            main_only=True,
            own_code=_own_code(self.evaluators),
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

    # --- what the stages are made of --------------------------------------------------------

    def _drawn(self, generation: int) -> Dataset:
        folder = self.folder.stage("sample", generation)
        return documents.read_parquet(folder / "candidates.parquet")

    def _continues(self, generation: int) -> bool:
        return self.recipe.model.start_from == "previous" and generation > 0

    def _count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(ids) for ids in self.base.encode(texts)], np.int32)

    def _prompts(self) -> Callable[[int], str] | None:
        sample = self.recipe.sample
        if sample.prompt == "none":
            return None
        return human_prompts(self.base, self.run.human, sample.prompt_tokens, self.recipe.seed)


@contextmanager
def _begun(
    recipe: Recipe,
    out: Path,
    progress: Progress,
    num_processes: int | None,
    overrides: Mapping[str, Any] | None,
    shared: store.SharedStages | None,
) -> Iterator[Recursion]:
    """The loop over a run folder that this run's first process has locked."""
    running = processes.world_size()
    if num_processes is not None and num_processes != running:
        raise RunError(
            f"{num_processes} processes were asked for, {running} run: on CPU `accelerate launch` "
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
                digests=loop.base_digests,
                own_code=_own_code([*loop.filters, *loop.guards, *loop.evaluators]),
            )
        processes.barrier()
        yield loop


def _own_code(components: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Digests of the source of those components, and their scorers, that are the user's own."""
    found = {}
    for _, component in components:
        part = getattr(component, "twin_of", component)
        if not (getattr(part, "__module__", "") or "").startswith("textmad."):
            found[component_name(part)] = store.source_digest(part)
        if (scorer := getattr(part, "scorer", None)) is not None:
            found |= own_scorer_sources(scorer)
    return found


def _write_judged(judged: Dataset, records: Records, folder: Path) -> None:
    documents.write_parquet(judged, folder / "candidates.parquet")
    if records:
        _write_json(records, folder / store.RECORDS)


def _write_json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
