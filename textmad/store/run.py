"""A run as a reader sees it: the object over a run folder, finished or not."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textmad.errors import RunError
from textmad.recipe import Recipe, stored_recipe
from textmad.store.commit import committed
from textmad.store.folder import CORPUS, CRAWL, PROVENANCE, RECIPE, STAGES, RunFolder, read_json
from textmad.text.documents import as_dataset, as_table, read_parquet

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

RECORDS = "records.json"  # of what filters and scorers report beside their verdicts
METRICS_SCHEMA = pa.schema(
    [
        ("generation", pa.int32()),
        ("evaluator", pa.string()),
        ("metric", pa.string()),
        ("split", pa.string()),  # held_out, drawn, kept, human, crawled or all
        ("bin", pa.string()),  # "" where there are none
        ("value", pa.float64()),  # NaN where it cannot be computed; then `note` says why
        ("n", pa.int64()),  # tokens, words or documents behind the value
        ("note", pa.string()),
    ]
)


class Run:
    """What a run folder holds, read when asked for; a generation is there once it is committed.

    >>> run = Run("runs/upvotes")  # doctest: +SKIP
    >>> run.candidates(2)["text"][0]  # doctest: +SKIP

    Raises:
        RunError: no run folder, no such generation, or a damaged stage.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._folder = RunFolder(self.path)
        if not (self.path / RECIPE).is_file():
            expected = "what `textmad run RECIPE --out DIR` writes"
            if (self.path / "runs").is_dir():
                expected = f"one of the runs of the study in it, {self.path}/runs/ARM/seed-N"
            raise RunError(
                f"{self.path}: is no run folder, it holds no {RECIPE}: expected {expected}"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, generations={self.generations})"

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return stored_recipe(self.path / RECIPE)

    @property
    def provenance(self) -> dict[str, Any]:
        """provenance.json: code, versions, digests, and each start of the run."""
        provenance: dict[str, Any] = read_json(self.path / PROVENANCE)
        return provenance

    @property
    def generations(self) -> list[int]:
        """The generations of which every stage is committed."""
        names = (re.fullmatch(r"gen-(\d+)", path.name) for path in self.path.glob("gen-*"))
        begun = sorted(int(name[1]) for name in names if name)
        return [g for g in begun if all(committed(self._folder.stage(s, g)) for s in STAGES)]

    @property
    def complete(self) -> bool:
        """Whether every generation of the recipe is there."""
        return self.generations == list(range(self.recipe.generations + 1))

    @property
    def metrics(self) -> pd.DataFrame:
        """One row a value: generation, evaluator, metric, split, bin, value, n, note."""
        frame: pd.DataFrame = self.metrics_table.to_pandas()
        return frame

    @property
    def metrics_table(self) -> pa.Table:
        """The same as an Arrow table, of the complete generations in order."""
        paths = [self._file("evaluate", g, "metrics.parquet") for g in self.generations]
        tables = [pq.read_table(path).cast(METRICS_SCHEMA) for path in paths]
        return pa.concat_tables([METRICS_SCHEMA.empty_table(), *tables])

    @cached_property
    def human(self) -> Dataset:
        """The human training pool."""
        return read_parquet(self._file(CORPUS, None, "human.parquet"))

    @cached_property
    def held_out(self) -> Dataset:
        """The human text that is only measured on."""
        return read_parquet(self._file(CORPUS, None, "held_out.parquet"))

    @property
    def corpus_report(self) -> dict[str, Any]:
        """How the human text was read, cleaned and split."""
        report: dict[str, Any] = read_json(self._file(CORPUS, None, "corpus.json"))
        return report

    def crawl(self, generation: int) -> Dataset:
        """All that was crawled as human text for it: verdicts, `true_origin` and `true_id`.

        Raises:
            RunError: its human text is not crawled.
        """
        if self.recipe.crawl is None or generation == 0:
            raise RunError(
                f"{self.path}: generation {generation} has no crawl: expected a recipe with the "
                "group crawl, and a generation from 1 on"
            )
        return read_parquet(self._file(CRAWL, generation, "candidates.parquet"))

    def held_out_losses(self, generation: int) -> pd.DataFrame | None:
        """Each held-out document's `nats` and `tokens` by its id; None where none were kept."""
        path = self._file("evaluate", generation, "held_out.parquet")
        if not path.is_file():
            return None
        return pq.read_table(path).to_pandas().set_index("document")

    def training(self, generation: int) -> Dataset:
        """What the generation learned from."""
        return read_parquet(self._file("mix", generation, "training.parquet"))

    def mixture(self, generation: int) -> dict[str, int]:
        """human_tokens, model_tokens, human_documents and model_documents of its training set.

        After a crawl also `unlabelled_model_tokens`: how many of the human ones are a model's.
        """
        counts: dict[str, int] = read_json(self._file("mix", generation, "mix.json"))
        return counts

    def curve(self, generation: int) -> pd.DataFrame:
        """Its training loss, one row an optimizer step."""
        import pandas as pd

        return pd.DataFrame(read_json(self._file("model", generation, "training.json"))["curve"])

    def model_folder(self, generation: int) -> Path:
        """The folder that `LanguageModel.load` opens."""
        return self._file("model", generation, "training.json").parent

    def candidates(self, generation: int) -> Dataset:
        """Everything it drew, with score, kept, filter and reason of each document."""
        return read_parquet(self._file("curate", generation, "candidates.parquet"))

    def records(self, generation: int) -> dict[str, Any]:
        """What its filters and scorers reported beside their verdicts, by name."""
        return self._records("curate", generation)

    def _records(self, stage: str, generation: int) -> dict[str, Any]:
        path = self._file(stage, generation, RECORDS)
        return read_json(path) if path.is_file() else {}

    @property
    def warnings(self) -> list[str]:
        """The different warnings among the records of the complete generations, guards' too."""
        records = [
            facts
            for generation in self.generations
            for stage in (CRAWL, "curate")
            if committed(self._folder.stage(stage, generation))
            for facts in self._records(stage, generation).values()
        ]
        return list(dict.fromkeys(w for facts in records if (w := facts.get("warning"))))

    def kept(self, generation: int) -> Dataset:
        """The candidates that every filter kept."""
        table = as_table(self.candidates(generation))
        return as_dataset(table.filter(pc.field("kept")))

    def _file(self, stage: str, generation: int | None, name: str) -> Path:
        folder = self._folder.stage(stage, generation)
        if committed(folder) is None:
            there = ", ".join(map(str, self.generations)) or "none"
            raise RunError(
                f"{self.path}: {self._folder.name(stage, generation)} is not there; complete "
                f"generations: {there}, of 0 to {self.recipe.generations} in the recipe; the "
                "command that began the run resumes it"
            )
        return folder / name
