"""The loop. Everything else in textmad is something it calls.

Each stage reads what the stages before it committed to disk, and commits what it returns. So a
run that was interrupted anywhere goes on where it stopped, several processes share one run, and
whoever wonders about a result can open the file it came from.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from textmad import documents, mixture, store
from textmad.components import TWIN, component_name
from textmad.corpus import Corpus, corpus_digest, open_corpus
from textmad.crawl import Crawl, gather, taken_for_human, with_label
from textmad.curation.protocol import Context, apply_filters, no_classifier
from textmad.curation.taste import own_scorer_sources
from textmad.errors import CorpusError, CurationError, RunError
from textmad.evaluators import Embedding, Snapshot, count_words, measure
from textmad.models import Drawn, Fitted, LanguageModel, expecting, open_model, processes
from textmad.models.base_files import base_digest, whole_encoder
from textmad.models.crew import Crew
from textmad.models.encoder import Encoder, open_encoder
from textmad.progress import Progress, SilentProgress
from textmad.recipe import Recipe
from textmad.seeds import stream, torch_seed

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")

Records = dict[str, Mapping[str, Any]]
"""What filters report beside their verdicts, by name."""

_log = logging.getLogger(__name__)

# Of the human documents that fill the evaluators' sample this much is compared, by document and by
# word, so that text in longer documents, or with fewer words to as many tokens, still fills it.
_COMPARED_SHARE = 2 / 3


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
            if loop.crawls(generation):
                loop.crawl(generation)
            loop.mix(generation)
            loop.fit(generation)
            loop.sample(generation)
            loop.curate(generation)
            loop.evaluate(generation)
        loop.finish()
    return store.Run(out)


class _ComparedHuman(NamedTuple):
    """Human training text as large as the evaluators' sample, and how much of it is compared."""

    texts: Sequence[str]
    num_documents: int
    num_words: int


class Recursion:
    """The stages of one run. Each is computed once, committed, and from then on read."""

    def __init__(
        self,
        recipe: Recipe,
        folder: store.RunFolder,
        progress: Progress,
        shared: store.SharedStages | None = None,
    ) -> None:
        self.recipe, self.folder, self.progress, self.shared = recipe, folder, progress, shared
        self.base = open_model(recipe.model, recipe.sample)
        self.evaluators = [(c.name, c.build("evaluator")) for c in recipe.evaluate]
        self.filters = [(c.name, c.build("filter")) for c in recipe.curate]
        guards = recipe.crawl.guard if recipe.crawl else ()
        self.guards = [(c.name, c.build("filter")) for c in guards]
        self._fitted: tuple[int, LanguageModel] | None = None
        self._crew = Crew(lambda name: self.base if name is None else self.model(name))
        self._shared_base = self._crew.shared(None)
        self.encoder_digests = _encoder_digests([part for _, part in self.evaluators])
        self._encoders: dict[str, Encoder] = {}
        self._run_cache: dict[Any, Any] = {}
        self._warned: set[str] = set()

    @cached_property
    def run(self) -> store.Run:
        """What is committed so far."""
        return store.Run(self.folder.path)

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

        self._stage(
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

    def crawls(self, generation: int) -> bool:
        """Whether this generation's human text is crawled."""
        return self.recipe.crawl is not None and generation > 0

    def crawl(self, generation: int) -> None:
        """Human text as it is found once models write: some is theirs, and guards look for it."""
        records: Records = {}

        def compute() -> Dataset:
            kept = self.run.kept(generation - 1)
            found = gather(self.recipe, generation, self.run.human, kept, self._count_tokens)
            context = partial(self._guard_context, generation, found, records)
            judged = apply_filters(found.shown, self.guards, context, every_score=True)
            return found.revealed(judged)

        def write(crawled: Dataset, folder: Path) -> None:
            _write_judged(crawled, records, folder)

        inputs = {
            "crawl": self.recipe.dump()["crawl"],
            "mix": self.recipe.mix.model_dump(),
            "corpus": self._digest("corpus"),
            "cleaning": self.recipe.corpus.model_dump(),  # posted text goes through it too
            "model": self._digest("model", generation - 1),
            "curate": [self._digest("curate", earlier) for earlier in range(generation)],
            "earlier": [self._digest("crawl", earlier) for earlier in range(1, generation)],
        }
        self._stage(
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
            if self.crawls(generation):
                crawled = taken_for_human(self.recipe.mix, generation, self.run.crawl(generation))
                kept = [with_label(texts, self.run.crawl(g + 1)) for g, texts in enumerate(kept)]
            return mixture.mix(
                self.recipe.mix, generation, self.run.human, kept, self.recipe.seed, crawled
            )

        def write(mixed: mixture.Mixture, folder: Path) -> None:
            documents.write_parquet(mixed.documents, folder / "training.parquet")
            _write_json(mixed.counts(), folder / "mix.json")

        inputs = {"mix": self.recipe.mix.model_dump(), "corpus": self._digest("corpus")}
        if generation == 0:  # human text only: how later generations mix makes no difference
            inputs["mix"] = {"human_tokens": mixture.training_tokens(self.recipe.mix, 0)}
        learned_from = range(generation) if self.recipe.mix.model_tokens else ()
        inputs["curate"] = [self._digest("curate", earlier) for earlier in learned_from]
        if self.crawls(generation):
            inputs["crawl"] = [self._digest("crawl", g) for g in range(1, generation + 1)]
        self._stage("mix", generation, inputs, compute, write)

    def fit(self, generation: int) -> None:
        """The base, or the previous generation's model, learns the training set."""
        previous = generation - 1 if self._continues(generation) else None

        def compute() -> Fitted:
            start = self.base if previous is None else self.model(previous)
            return start.fit(
                self.run.training(generation),
                self.recipe.train,
                seed=torch_seed(self.recipe.seed, "fit", generation),
                advance=self.progress.advance,
            )

        def write(fitted: Fitted, folder: Path) -> None:
            fitted.model.save(folder)
            _write_json({"curve": fitted.curve}, folder / "training.json")

        inputs = {
            "model": self.recipe.model.model_dump(exclude={"start_from"}),  # see `previous`
            "train": self.recipe.train.model_dump(),
            "mix": self._digest("mix", generation),
            "previous": None if previous is None else self._digest("model", previous),
        }
        mixed = mixture.training_tokens(self.recipe.mix, generation)
        total = round(mixed * self.recipe.train.epochs)
        self._stage("model", generation, inputs, compute, write, total=total)

    def sample(self, generation: int) -> None:
        """The model writes: candidates."""
        settings = self.recipe.sample
        num_tokens = mixture.model_tokens_drawn(self.recipe.mix, settings, self.recipe.crawl)
        prompts = self._prompts() if settings.prompt == "human" else None

        def compute() -> list[Drawn]:
            return self.model(generation).sample(
                settings,
                num_tokens=num_tokens,
                stream=lambda i: stream(self.recipe.seed, "sample", generation, i),
                prompt=prompts,
                advance=self.progress.advance,
            )

        def write(drawn: list[Drawn], folder: Path) -> None:
            candidates = self._as_documents(drawn, generation, prompts)
            documents.write_parquet(candidates, folder / "candidates.parquet")

        inputs = {
            "sample": settings.model_dump(exclude={"oversample", "min_tokens"}),  # see `num_tokens`
            "num_tokens": num_tokens,
            "author": self.base.name,
            "model": self._digest("model", generation),
            "corpus": self._digest("corpus") if prompts else None,
        }
        self._stage("sample", generation, inputs, compute, write, total=num_tokens)

    def curate(self, generation: int) -> None:
        """Filters in order: every candidate with its verdict, kept or not."""
        records: Records = {}

        def context(place: int, name: str) -> Context:
            return Context(
                generation=generation,
                # A twin's filter votes as it would without its twin.
                rng=stream(self.recipe.seed, "curate", generation, place, name.removeprefix(TWIN)),
                human=self.run.human,
                earlier=self.run.candidates,
                **self._models_say(generation),
                record=partial(self._record, records),
            )

        def write(candidates: Dataset, folder: Path) -> None:
            _write_judged(candidates, records, folder)

        inputs = {
            "curate": [component.dump() for component in self.recipe.curate],
            "model": self._digest("model", generation),
            "sample": self._digest("sample", generation),
            "earlier": [self._digest("curate", earlier) for earlier in range(generation)],
            "corpus": self._digest("corpus"),
        }
        self._stage(
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
            snapshot = self._snapshot(generation)
            rows = [
                {"generation": generation, "evaluator": name, **vars(measurement)}
                for name, evaluator in self.evaluators
                for measurement in measure(name, evaluator, snapshot)
            ]
            return pa.Table.from_pylist(rows, store.METRICS_SCHEMA)

        inputs = {
            "evaluate": [component.dump() for component in self.recipe.evaluate],
            "min_tokens": mixture.compared_tokens(self.recipe.mix, self.recipe.sample),
            "corpus": self._digest("corpus"),
            **{stage: self._digest(stage, generation) for stage in ("mix", "model", "curate")},
        }
        if self.encoder_digests:
            inputs["encoders"] = self.encoder_digests
        if self.crawls(generation):
            inputs["crawl"] = self._digest("crawl", generation)
        self._stage(
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

    def _stage(
        self,
        name: str,
        generation: int | None,
        inputs: Mapping[str, Any],
        compute: Callable[[], T],
        write: Callable[[T, Path], None],
        *,
        total: int | None = None,
        main_only: bool = False,
        own_code: Mapping[str, str] | None = None,
        accept: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        """Compute and commit a stage, unless it is there from the same inputs.

        Where only the user's own filters or evaluators were changed since (mended, most often),
        it is computed again, and has to come out the same. What another run of a study has
        committed from the same inputs is taken over, if `accept` does not object.
        """
        folder, title = self.folder.stage(name, generation), self.folder.name(name, generation)
        inputs = {
            **inputs,
            "seed": None if name == "corpus" else self.recipe.seed,  # one split for all seeds
            "generation": generation,
            "base": self.base_digests,
            "code": store.code_version(),
            "versions": store.versions(),
            "own_code": own_code or {},
        }
        there = store.committed(folder)
        made_by = inputs["own_code"] if there is None else there.inputs["own_code"]
        store.committed(folder, {**inputs, "own_code": made_by})  # all else is as it was
        processes.barrier()  # nobody writes before everybody has looked
        if there is not None and made_by == inputs["own_code"]:
            return
        claim = self.shared.claim if self.shared is not None and there is None else _alone
        with claim(folder, title, inputs, accept) as taken_over:
            if taken_over:
                return
            with self.progress.stage(generation, name, total, "tokens"):
                with self._crew.at_work() if main_only else nullcontext():
                    if not main_only or processes.is_main():
                        value = compute()
                if processes.is_main():
                    commit = store.commit if there is None else store.confirm
                    commit(folder, title, inputs, lambda place: write(value, place))
        processes.barrier()

    def _digest(self, stage: str, generation: int | None = None) -> str:
        manifest = store.committed(self.folder.stage(stage, generation))
        assert manifest is not None, f"{stage} of generation {generation} comes later"
        return manifest.digest

    def _guard_context(
        self, generation: int, found: Crawl, records: Records, place: int, name: str
    ) -> Context:
        """What a guard may know: nothing by which a crawled document could be looked up."""

        def labelled(earlier: int) -> Dataset:
            is_latest = earlier == generation - 1
            crawled = found.revealed(found.shown) if is_latest else self.run.crawl(earlier + 1)
            return with_label(self.run.candidates(earlier), crawled)

        return Context(
            generation=generation,
            rng=stream(self.recipe.seed, "guard", generation, place, name.removeprefix(TWIN)),
            human=self.run.training(0),  # gathered before a model wrote, and never crawled
            earlier=labelled,
            as_posted=found.as_posted,
            record=partial(self._record, records),
            **self._models_say(generation - 1),
        )

    def _models_say(self, generation: int) -> dict[str, Any]:
        """What a filter may ask the base and a generation's model, as a context has it."""
        model, base = self._crew.shared(generation), self._shared_base
        return {
            "token_nll": model.token_nll,
            "base_token_nll": base.token_nll,
            "fit_classifier": getattr(self.base, "fit_classifier", no_classifier),
            "base_token_moments": lambda texts: expecting(base).token_moments(texts),
            "cross_entropy": lambda texts: expecting(model).cross_entropy(texts, base),
            "encode": self.base.encode,
            "vocabulary_size": self.base.vocabulary_size,
        }

    def _record(self, records: Records, name: str, facts: Mapping[str, Any]) -> None:
        """Take what a filter reports beside its verdicts; a warning is given once."""
        try:
            records[name] = json.loads(json.dumps(facts))
        except (TypeError, ValueError) as error:
            raise CurationError(
                f"record {name}: cannot be written as JSON ({error}); give text, numbers, lists "
                "and mappings of them"
            ) from error
        if (warning := facts.get("warning")) and warning not in self._warned:
            self._warned.add(warning)
            _log.warning("%s", warning)

    def _drawn(self, generation: int) -> Dataset:
        folder = self.folder.stage("sample", generation)
        return documents.read_parquet(folder / "candidates.parquet")

    def _continues(self, generation: int) -> bool:
        return self.recipe.model.start_from == "previous" and generation > 0

    @cached_property
    def base_digests(self) -> dict[str, str]:
        """Of what the base consists of and, where it is the user's own, of its code."""
        return {"base": self.base.digest, **_own_code([(self.base.name, self.base)])}

    def _open_encoder(self, name: str) -> Encoder:
        if name not in self._encoders:
            self._encoders[name] = open_encoder(name)
        return self._encoders[name]

    def _count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(ids) for ids in self.base.encode(texts)], np.int32)

    def _prompts(self) -> Callable[[int], str]:
        """Slot i's prompt in every generation: the beginning of a human training document."""
        length = self.recipe.sample.prompt_tokens
        human = self.run.human
        tokens = documents.token_counts(human)
        long_enough = np.flatnonzero(tokens > length + 1)
        if len(long_enough) == 0:
            raise CorpusError(
                f"sample.prompt_tokens: no human document is longer than {length} tokens; "
                "lower it, or raise corpus.min_words"
            )

        def prompt(index: int) -> str:
            rng = stream(self.recipe.seed, "prompt", index)
            text = human[int(rng.choice(long_enough))]["text"]
            return self.base.beginning(text, length)

        return prompt

    def _as_documents(
        self, drawn: list[Drawn], generation: int, prompts: Callable[[int], str] | None
    ) -> Dataset:
        num = len(drawn)
        return documents.documents(
            {
                "id": [f"g{generation}-{index}" for index in range(num)],
                "text": [document.text for document in drawn],
                "prompt": [prompts(index) if prompts else "" for index in range(num)],
                "origin": [documents.MODEL] * num,
                "generation": [generation] * num,
                "author": [self.base.name] * num,
                "finished": [document.finished for document in drawn],
                "tokens": [document.tokens for document in drawn],
            }
        )

    def _snapshot(self, generation: int) -> Snapshot:
        """This generation for the evaluators: as many documents of each kind of text."""
        candidates = self.run.candidates(generation)
        drawn = documents.take(candidates, self._random_order(candidates, "drawn", generation))
        # Kept text in the order of drawn text: where nothing is rejected the two are the same.
        kept = documents.take(drawn, np.flatnonzero(drawn["kept"]))
        human = self._compared_human
        # A list of its own: what an evaluator does to it must not reach the next generation.
        splits = {"human": list(human.texts), "drawn": drawn["text"][:], "kept": kept["text"][:]}
        return Snapshot(
            generation=generation,
            model=self._crew.shared(generation),
            base=self._shared_base,
            held_out=self.run.held_out,
            human=self.run.human,
            training=self.run.training(generation),
            texts={
                name: texts for name, texts in splits.items() if len(texts) >= human.num_documents
            },
            num_documents=human.num_documents,
            num_words=human.num_words,
            rng=stream(self.recipe.seed, "evaluate", generation),
            candidates=candidates,
            crawled=self.run.crawl(generation) if self.crawls(generation) else documents.empty(),
            curve=store.read_json(self.folder.stage("model", generation) / "training.json")[
                "curve"
            ],
            open_encoder=self._open_encoder,
            run_cache=self._run_cache,
        )

    @cached_property
    def _compared_human(self) -> _ComparedHuman:
        """The same human text beside every generation's."""
        human = self.run.human
        order = self._random_order(human, "human")
        tokens = np.cumsum(documents.token_counts(human)[order])
        compared_tokens = mixture.compared_tokens(self.recipe.mix, self.recipe.sample)
        filling = int(np.searchsorted(tokens, compared_tokens)) + 1
        num_documents = max(1, int(filling * _COMPARED_SHARE))
        texts = documents.take(human, order[:filling])["text"][:]
        return _ComparedHuman(texts, num_documents, count_words(texts[:num_documents]))

    def _random_order(self, corpus: Dataset, *names: str | int) -> np.ndarray:
        return stream(self.recipe.seed, "compare", *names).permutation(len(corpus))


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


def _alone(*_: Any) -> AbstractContextManager[bool]:
    """The claim of a run that shares with none: nothing is taken over."""
    return nullcontext(False)


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


def _encoder_digests(evaluators: Sequence[Any]) -> dict[str, str]:
    """Of the files of each encoder that an evaluator asks for, which have to be there."""
    named = [part.encoder for part in evaluators if isinstance(part, Embedding)]
    return {name: base_digest(whole_encoder(name)) for name in named if name is not None}


def _write_judged(judged: Dataset, records: Records, folder: Path) -> None:
    documents.write_parquet(judged, folder / "candidates.parquet")
    if records:
        _write_json(records, folder / store.RECORDS)


def _write_json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
