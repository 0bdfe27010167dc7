"""Read a run folder, finished or not: `Run` gives its numbers, texts and models."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textmad.corpus import corpus_notes
from textmad.errors import ModelError, RunError, unreadable
from textmad.loop.generation_io import as_documents, human_prompts, sample_more
from textmad.loop.member_means import mean_losses, mean_metrics
from textmad.loop.parents import lineage_of
from textmad.mixture import SOURCES
from textmad.models.protocol import Sample, SupportsExport
from textmad.recipe import PopulationSettings, Recipe
from textmad.seeds import stream
from textmad.store.commit import check_content, damaged
from textmad.store.files import check_unused, make_folder, reading, writing
from textmad.store.folder import (
    BASE,
    CORPUS,
    CRAWL,
    HELD_OUT_LOSSES,
    METRICS_SCHEMA,
    ORIGINS,
    POPULATION,
    PROVENANCE,
    RECIPE,
    RECORDS,
    SELECT,
    STAGES,
    RunFolder,
)
from textmad.store.manifest import MANIFEST, Manifest, canonical
from textmad.store.records import read_json, read_recipe, read_sealed_json
from textmad.text.documents import (
    as_dataset,
    as_table,
    of_community,
    read_parquet,
    token_counts,
)

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    from textmad.models.protocol import LanguageModel

T = TypeVar("T")


class Run:
    """A run folder. Everything is read when it is asked for, and its SHA-256 is checked.

    >>> run = Run("runs/upvotes")  # doctest: +SKIP
    >>> run.candidates(2)["text"][0]  # doctest: +SKIP

    Of a population, texts are those of all members together and metrics are means over them.
    `members` gives each of them as a run of its own.

    Args:
        path: the run folder.
        member: of a population; None: all of it.

    Raises:
        RunError: no run folder, no such generation, or a damaged stage.
    """

    def __init__(self, path: str | Path, member: int | None = None) -> None:
        self.path, self.number = Path(path), member
        self._whole: Run | None = None  # of a member: the population, which reads the corpus once
        if not (self.path / RECIPE).is_file():
            expected = "what `textmad run RECIPE --out DIR` writes"
            if (self.path / "runs").is_dir():
                expected = f"one of the runs of the study in it, {self.path}/runs/ARM/seed-N"
            raise RunError(
                f"{self.path}: is no run folder, it holds no {RECIPE}: expected {expected}"
            )

    def __repr__(self) -> str:
        of_member = "" if self.number is None else f", member={self.number}"
        return f"Run({str(self.path)!r}{of_member}, generations={self.generations})"

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe; a member's is what it would be in a run of its own."""
        recipe = read_recipe(self.path / RECIPE)
        return recipe if self.number is None else recipe.of_member(self.number)

    @cached_property
    def _folder(self) -> RunFolder:
        if self.number is None:
            return RunFolder(self.path)
        _ = self.recipe  # an error where there is no such member
        assert self._population is not None, "that has been checked"
        has_own_base_text = read_recipe(self.path / RECIPE).has_own_base_text(self.number)
        return RunFolder(self.path, self.number, has_own_base_text)

    @cached_property
    def _population(self) -> PopulationSettings | None:
        """The group `population` of the whole run's recipe."""
        return read_recipe(self.path / RECIPE).population

    @property
    def community(self) -> str | None:
        """Whose human text a member learns; None: everybody's."""
        if self.number is None or self._population is None or not self._population.communities:
            return None
        return self._population.communities[self.number]

    @cached_property
    def members(self) -> tuple[Run, ...]:
        """The members of a population, each as a run; none where the run is one model's."""
        if self.number is not None or self._population is None:
            return ()
        members = tuple(Run(self.path, k) for k in range(self._population.members))
        for member in members:
            member._whole = self
        return members

    def lineage(self) -> pd.DataFrame:
        """The parents of each member in each complete generation of a population.

        The columns are generation, member, parent_generation, parent_member (-1 twice: human text),
        by ("tokens" or "weights") and share. By tokens, the shares of a member's training set add
        up to 1; where weights are crossed and nothing is learned, there are none. By weights they
        are the sizes of the weights, negative ones too, over their sum; a model that starts from
        the base model has no parent by weights. Of a member, these are its own rows.
        """
        is_member = self.number is not None and self._population is not None
        return lineage_of((self,) if is_member else self.members, self.generations)

    @property
    def provenance(self) -> dict[str, Any]:
        """provenance.json: code, versions, digests, and each start of the run."""
        return read_sealed_json(self.path / PROVENANCE)

    @property
    def generations(self) -> list[int]:
        """The generations of which every stage is committed."""
        with reading(self.path):
            names = [re.fullmatch(r"gen-(\d+)", path.name) for path in self.path.glob("gen-*")]
        begun = sorted(int(name[1]) for name in names if name)
        if self.members:
            complete = set.intersection(*(set(member.generations) for member in self.members))
            return [g for g in begun if g in complete and self._manifest(POPULATION, g)]
        return [g for g in begun if all(self._manifest(stage, g) for stage in STAGES)]

    @property
    def complete(self) -> bool:
        """Whether every generation of the recipe is there, measured by all of its evaluators."""
        if not all(member.complete for member in self.members):
            return False
        evaluators = set(map(canonical, self.recipe.dump()["evaluate"]))
        return self.generations == list(range(self.recipe.generations + 1)) and all(
            evaluators <= set(map(canonical, self._measured_by(generation)))
            for generation in self.generations
        )

    def _measured_by(self, generation: int) -> list[Any]:
        """The evaluators that have measured a generation, as in the recipe."""
        if self.members:
            return self.members[0]._measured_by(generation)
        stages = self._folder.evaluate_stages(generation)
        manifests = [self._required(stage, generation) for stage in stages]
        return [part for m in manifests for part in m.inputs.get("evaluate", [])]

    @property
    def metrics(self) -> pd.DataFrame:
        """The metrics, a row a value, in the columns of `store.METRICS_SCHEMA`."""
        frame: pd.DataFrame = self.metrics_table.to_pandas()
        return frame

    @property
    def metrics_table(self) -> pa.Table:
        """The same as an Arrow table, of the complete generations in order."""
        if self.members:
            return self._metrics_of_population()
        tables = [
            self._metrics_of(stage, generation)
            for generation in self.generations
            for stage in self._folder.evaluate_stages(generation)
        ]
        return pa.concat_tables([METRICS_SCHEMA.empty_table(), *tables])

    def _metrics_of(self, stage: str, generation: int) -> pa.Table:
        return _with_intervals(self._read(pq.read_table, stage, generation, "metrics.parquet"))

    def _metrics_of_population(self) -> pa.Table:
        """The means over the members, and what was measured of all of them together."""
        means = mean_metrics([member.metrics for member in self.members], self.generations)
        together = [self._metrics_of(POPULATION, generation) for generation in self.generations]
        table = pa.Table.from_pandas(means, METRICS_SCHEMA, preserve_index=False)
        return pa.concat_tables([table.replace_schema_metadata(None), *together])

    @cached_property
    def human(self) -> Dataset:
        """The human training pool; a member's may be one community's."""
        pool = self._whole.human if self._whole else self._documents(CORPUS, None, "human.parquet")
        return of_community(pool, self.community)

    @cached_property
    def held_out(self) -> Dataset:
        """The human text that is only measured on."""
        if self._whole is not None:
            return self._whole.held_out
        return self._documents(CORPUS, None, "held_out.parquet")

    @cached_property
    def base_text(self) -> Dataset:
        """What was sampled from the base model, with the run's settings; a reference."""
        if self._whole is not None and not self._folder.has_own_base_text:
            return self._whole.base_text
        return self._documents(BASE, None, "candidates.parquet")

    @property
    def corpus_report(self) -> dict[str, Any]:
        """How the human text was read, cleaned and split."""
        report: dict[str, Any] = self._read(read_json, CORPUS, None, "corpus.json")
        return report

    def held_out_losses(self, generation: int) -> pd.DataFrame | None:
        """Return each held-out document's `nats` and `tokens` by its id; None where none is there.

        The documents are the same in all generations and in all runs on one corpus. Where several
        evaluate stages have scored some, those of the first are returned.
        """
        if self.members:
            return mean_losses([member.held_out_losses(generation) for member in self.members])
        for stage in self._folder.evaluate_stages(generation):
            if HELD_OUT_LOSSES in self._required(stage, generation).files:
                table: pa.Table = self._read(pq.read_table, stage, generation, HELD_OUT_LOSSES)
                losses: pd.DataFrame = table.to_pandas().set_index("document")
                return losses
        return None

    def crawl(self, generation: int) -> Dataset:
        """Everything that was crawled as human text: verdicts, `true_origin` and `true_id`.

        Raises:
            RunError: its human text is not crawled.
        """
        if self.recipe.crawl is None or generation == 0:
            raise RunError(
                f"{self.path}: generation {generation} has no crawl: expected a recipe with the "
                "group crawl, and a generation from 1 on"
            )
        return self._documents(CRAWL, generation, "candidates.parquet")

    def training(self, generation: int) -> Dataset:
        """The training set of the generation."""
        if self.members:
            return _together([member.training(generation) for member in self.members])
        return self._documents("mix", generation, "training.parquet")

    def mixture(self, generation: int) -> dict[str, int]:
        """human_tokens, model_tokens, human_documents and model_documents of its training set.

        After a crawl also `unlabelled_model_tokens`: how many of the human ones are a model's.
        """
        if self.members:
            mixtures = [member.mixture(generation) for member in self.members]
            return {name: sum(mixture[name] for mixture in mixtures) for name in mixtures[0]}
        counts: dict[str, Any] = self._read(read_json, "mix", generation, "mix.json")
        return {name: count for name, count in counts.items() if name != SOURCES}

    def sources(self, generation: int) -> list[dict[str, int]]:
        """Where a member's training set comes from: generation, member and tokens of each source.

        Human text is of generation -1 and member -1.

        Raises:
            RunError: this is no member of a population.
        """
        self._check_member()
        counts: dict[str, Any] = self._read(read_json, "mix", generation, "mix.json")
        sources: list[dict[str, int]] = counts[SOURCES]
        return sources

    def starting_weights(self, generation: int) -> list[dict[str, Any]]:
        """The models that a member's fit started from: generation, member and weight of each.

        Raises:
            RunError: this is no member of a population.
        """
        self._check_member()
        parents = self._required("model", generation).inputs["parents"]
        return [
            {key: parent[key] for key in ("generation", "member", "weight")} for parent in parents
        ]

    def imitates(self, generation: int) -> bool:
        """Whether the model of a generation has learned its training set."""
        return self._required("model", generation).inputs["mix"] is not None

    def _check_member(self) -> None:
        if self.number is None:
            raise RunError(
                f"{self.path}: only members of a population have parents: expected one of "
                "Run(PATH).members"
            )

    def selection(self, generation: int) -> dict[str, Any] | None:
        """Which members of a generation have children; None where there is no selection."""
        if self._manifest(SELECT, generation) is None:
            return None
        selection: dict[str, Any] = self._read(read_json, SELECT, generation, "selection.json")
        return selection

    def curve(self, generation: int) -> pd.DataFrame:
        """Its training loss, one row an optimizer step; in a population the mean over members."""
        import pandas as pd

        if self.members:
            curves = pd.concat([member.curve(generation) for member in self.members])
            return curves.groupby("step", as_index=False).mean() if len(curves) else curves
        return pd.DataFrame(self._read(read_json, "model", generation, "training.json")["curve"])

    def preference(self, generation: int) -> dict[str, Any] | None:
        """How it learned by preference: numbers of documents, curve; None where it did not."""
        report = self._read(read_json, "model", generation, "training.json")
        learned: dict[str, Any] | None = report.get("preference")
        return learned

    def model_folder(self, generation: int) -> Path:
        """The folder that `LanguageModel.load` opens; the SHA-256 of its files is checked."""
        folder = self._folder.stage("model", generation)
        manifest = self._required("model", generation)
        for name in manifest.files:
            check_content(folder, manifest, name)
        return folder

    def model(self, generation: int) -> LanguageModel:
        """The model of a generation, as it was committed; this loads torch.

        >>> model = Run("runs/upvotes").model(3)  # doctest: +SKIP
        >>> model.token_nll(["how are you ?"])  # doctest: +SKIP

        Raises:
            ModelError: the base model is not there.
            RunError: there is no such generation, or the base model is not the one of this run.
        """
        folder = self.model_folder(generation)
        return self.base.load(folder)

    @cached_property
    def base(self) -> LanguageModel:
        """The base model of this run; this loads torch.

        Raises:
            ModelError: it is not there.
            RunError: it is not the one that the run was begun with.
        """
        from textmad.models.opening import open_model

        base = open_model(self.recipe.model, self.recipe.sample)
        digests = read_sealed_json(self.path / PROVENANCE, ORIGINS)["digests"]
        begun_with = digests.get(f"base of member {self.number}", digests["base"])
        if base.digest != begun_with:
            raise RunError(
                f"{self.path}: model.base: {self.recipe.model.base}: has changed since the run was "
                f"begun (digest {begun_with[:12]} then, {base.digest[:12]} now): restore it"
            )
        return base

    def sample(
        self, generation: int, num: int = 10, *, prompt: str | None = None, seed: int = 0
    ) -> Dataset:
        """Sample new documents from the model of a generation, with the recipe's settings.

        They are none of the run's candidates: their random numbers are others, of `seed`.

        >>> Run("runs/upvotes").sample(3, num=2)["text"]  # doctest: +SKIP

        Args:
            generation: whose model.
            num: documents.
            prompt: what each begins with; None: as `sample.prompt` of the recipe says.
            seed: of their random numbers. The first documents are the same for any `num`.

        Raises:
            ModelError: a prompt does not fit, or the base model is not there.
            RunError: there is no such generation.
        """
        settings, model = self.recipe.sample, self.model(generation)
        prompts: Callable[[int], str] | None = None
        if prompt is not None:
            prompts = partial(_always, prompt)
        elif settings.prompt == "human":
            prompts = human_prompts(model, self.human, settings.prompt_tokens, seed)
        mean_tokens = float(token_counts(self.sampled(generation)).mean())
        samples: list[Sample] = []
        while len(samples) < num:
            more_tokens = max(1, math.ceil((num - len(samples)) * mean_tokens))
            samples = sample_more(
                model,
                settings,
                samples,
                num_tokens=sum(sample.tokens for sample in samples) + more_tokens,
                stream=lambda i: stream(seed, "sample again", generation, i),
                prompt=prompts,
            )
        return as_documents(samples[:num], generation, model.name, prompts, ids=f"s{seed}-")

    def export(self, generation: int, folder: str | Path, *, merge: bool = False) -> None:
        """Write the model of a generation as a folder that transformers and peft open.

        Args:
            generation: whose model.
            folder: absent or empty.
            merge: write whole weights that need no base model, with tokenizer and card, where
                otherwise an adapter would be written.

        Raises:
            ModelError: the model cannot be exported.
            RunError: there is something in `folder`, or no such generation.
        """
        folder, model = Path(folder), self.model(generation)
        check_unused(folder)
        with writing(folder):
            if not merge:
                make_folder(folder)
                model.save(folder)
            elif isinstance(model, SupportsExport):
                model.export(folder, f"Generation {generation} of the run {self.path.name}.")
            else:
                raise ModelError(f"{model.name}: has no weights to merge; leave out --merge")

    def sampled(self, generation: int) -> Dataset:
        """Everything it sampled, before any filter."""
        if self.members:
            return _together([member.sampled(generation) for member in self.members])
        return self._documents("sample", generation, "candidates.parquet")

    def candidates(self, generation: int) -> Dataset:
        """Everything it sampled, with score, kept, filter and reason of each document."""
        if self.members:
            return _together([member.candidates(generation) for member in self.members])
        return self._documents("curate", generation, "candidates.parquet")

    def records(self, generation: int, stage: str = "curate") -> dict[str, Any]:
        """What filters (of `curate`, or of `crawl`) and scorers reported beside their verdicts."""
        return self._records(stage, generation)

    def _records(self, stage: str, generation: int) -> dict[str, Any]:
        if self.members:
            return {
                f"{name} of member {member.number}": facts
                for member in self.members
                for name, facts in member._records(stage, generation).items()
            }
        if RECORDS not in self._required(stage, generation).files:
            return {}
        records: dict[str, Any] = self._read(read_json, stage, generation, RECORDS)
        return records

    @property
    def warnings(self) -> list[str]:
        """What to know of the human text; the different warnings of filters and crawl filters."""
        records = [
            facts
            for generation in self.generations
            for stage in (("curate",) if self.members else (CRAWL, "curate"))
            if self.members or self._manifest(stage, generation)
            for facts in self._records(stage, generation).values()
        ]
        warnings = (facts.get("warning") for facts in records)
        return list(dict.fromkeys([*corpus_notes(self.corpus_report), *filter(None, warnings)]))

    def kept(self, generation: int) -> Dataset:
        """The candidates that every filter kept."""
        table = as_table(self.candidates(generation))
        return as_dataset(table.filter(pc.field("kept")))

    # --- files of stages --------------------------------------------------------------------

    def _documents(self, stage: str, generation: int | None, name: str) -> Dataset:
        return self._read(read_parquet, stage, generation, name)

    def _read(self, read: Callable[[Path], T], stage: str, generation: int | None, name: str) -> T:
        """What `read` gives for a file of a stage, after a check of its SHA-256."""
        folder, manifest = self._folder.stage(stage, generation), self._required(stage, generation)
        if name not in manifest.files:
            raise damaged(folder, name, "is missing")
        check_content(folder, manifest, name)
        try:
            return read(folder / name)
        except (pa.ArrowException, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise unreadable(folder / name, error) from error
            raise damaged(folder, name, f"cannot be read ({error})") from error

    def _required(self, stage: str, generation: int | None) -> Manifest:
        if self.members and stage in STAGES:
            raise RunError(
                f"{self.path}: is a population: each of its {len(self.members)} members has "
                f"{stage} of its own: name one, as in Run(PATH, member=0) or --member 0"
            )
        manifest = self._manifest(stage, generation)
        if manifest is None:
            complete = ", ".join(map(str, self.generations)) or "none"
            raise RunError(
                f"{self.path}: {self._folder.name(stage, generation)} is not there; complete "
                f"generations: {complete}, of 0 to {self.recipe.generations} in the recipe; the "
                "command that began the run resumes it"
            )
        return manifest

    def _manifest(self, stage: str, generation: int | None) -> Manifest | None:
        """The manifest of a stage; None where the run has not come to it.

        Raises:
            RunError: it is damaged. A stage comes to its place as a whole, with its manifest.
        """
        manifest = self._folder.manifest(stage, generation)
        folder = self._folder.stage(stage, generation)
        if manifest is None and folder.is_dir():
            raise damaged(folder, MANIFEST, "is missing")
        return manifest


def _together(parts: list[Dataset]) -> Dataset:
    """All members' documents, in the order of the members, with all of their columns."""
    tables = [as_table(part) for part in parts]
    return as_dataset(pa.concat_tables(tables, promote_options="permissive").combine_chunks())


def _with_intervals(table: pa.Table) -> pa.Table:
    """Bring a table of metrics to the schema; one of an older textmad has no intervals."""
    for name in ("low", "high"):
        if name not in table.column_names:
            table = table.append_column(name, pa.array(np.full(table.num_rows, math.nan)))
    return table.cast(METRICS_SCHEMA)


def _always(prompt: str, index: int) -> str:
    """The same prompt for every document."""
    return prompt
