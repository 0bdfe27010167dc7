"""The parts of the benchmark: which sides work on what, and what is said of them.

No torch in this process: it would be in the memory of every child.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks import limits
from benchmarks.processes import busy_cores
from benchmarks.sides import Measured, Side, alternate, call, whole_processes

PARTS = ("sampling", "training", "evaluation", "generation", "processes", "threads")
TRUNCATION = {"top_k": 50, "top_p": 0.95}
# How a thread waits for the others: libgomp's default, without any spin, and textmad's default.
WAITING = {
    "default": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "ours": {},
}
_MACHINE = Side("machine", "benchmarks.limits:machine")


@dataclass(frozen=True)
class Size:
    """How much is done."""

    rows: tuple[int, ...]  # documents side by side that are tried in sampling
    sample_tokens: int
    max_new_tokens: int
    train_documents: int
    held_out_documents: int
    scored_documents: int
    counted_documents: int
    generation_documents: int
    generation_tokens: int  # learned, and drawn
    batch_tokens: int
    learning_rate: float
    turns: int
    generation_turns: int


CPU = Size(
    rows=(64, 256),
    sample_tokens=30_000,
    max_new_tokens=128,
    train_documents=1_400,
    held_out_documents=400,
    scored_documents=1_200,
    counted_documents=20_000,
    generation_documents=6_000,
    generation_tokens=40_000,
    batch_tokens=2048,
    learning_rate=1e-3,
    turns=3,
    generation_turns=2,
)
CUDA = Size(
    rows=(128, 256, 512, 1024, 2048),
    sample_tokens=400_000,
    max_new_tokens=128,
    train_documents=10_000,
    held_out_documents=1_000,
    scored_documents=10_000,
    counted_documents=20_000,
    generation_documents=20_000,
    generation_tokens=200_000,
    batch_tokens=8192,
    learning_rate=5e-4,
    turns=3,
    generation_turns=2,
)
QUICK = Size(
    rows=(16, 32),
    sample_tokens=1_000,
    max_new_tokens=32,
    train_documents=60,
    held_out_documents=40,
    scored_documents=60,
    counted_documents=200,
    generation_documents=400,
    generation_tokens=600,
    batch_tokens=512,
    learning_rate=1e-3,
    turns=1,
    generation_turns=1,
)


class Result(NamedTuple):
    """One side of one comparison."""

    part: str
    case: str
    side: str
    measured: Measured
    ratio: float | None = None  # ours to this side's tokens/s; none on our own row
    limit_share: float | None = None


@dataclass
class Suite:
    """One benchmark; `run` yields the results of each comparison as it is done."""

    size: Size
    base: str
    source: str  # of the human text
    cuda: bool

    def run(self, parts: tuple[str, ...]) -> Iterator[list[Result]]:
        """The results of each comparison, as it is done."""
        with tempfile.TemporaryDirectory() as folder:
            self._folder = folder
            self._model = {"base": self.base, "dtype": "bfloat16" if self.cuda else "float32"}
            self._shape = call("benchmarks.limits:describe", **self._model)
            self._files = self._write_documents(parts)
            for part in PARTS:
                if part in parts:
                    yield from getattr(self, f"_{part}")()

    def _write_documents(self, parts: tuple[str, ...]) -> dict[str, str]:
        size = self.size
        counts = {
            "train": size.train_documents,
            "held_out": size.held_out_documents,
            "scored": size.scored_documents,
            "counted": size.counted_documents,
            "generation": size.generation_documents,
        }
        if set(parts) == {"sampling"}:
            return {}
        settings = {"source": self.source, "counts": counts, "folder": self._folder}
        files: dict[str, str] = call("benchmarks.workload:write_documents", **settings)
        return files

    # --- the parts --------------------------------------------------------------------------

    def _sampling(self) -> Iterator[list[Result]]:
        endless = call(
            "benchmarks.workload:endless_copy", base=self.base, folder=f"{self._folder}/endless"
        )
        num_tokens = self.size.sample_tokens
        # Documents of equal length fill whole batches, whatever the number of rows. A little less
        # is asked for: a text read again may have fewer tokens, and one more document would be due.
        whole = round(0.95 * max(self.size.rows) * self.size.max_new_tokens)
        cases: list[tuple[str, str, int, dict[str, Any]]] = [
            ("uneven, full", self.base, num_tokens, {}),
            ("uneven, top-k 50 top-p 0.95", self.base, num_tokens, TRUNCATION),
            ("equal, full", endless, whole, {}),
        ]
        fastest: dict[str, dict[str, int]] = {}
        for case, base, tokens, truncation in cases:
            settings = {
                **self._model,
                "base": base,
                "num_tokens": tokens,
                "max_new_tokens": self.size.max_new_tokens,
                **truncation,
            }
            if base not in fastest:
                fastest[base] = self._fastest_rows(settings)
            rows = fastest[base]
            sides = [_sampler(name, settings, (num_rows,)) for name, num_rows in rows.items()]
            measured = alternate([*sides, _MACHINE], self.size.turns)
            shares = {name: self._sampling_share(measured, name, rows[name]) for name in rows}
            yield _compared("sampling", case, measured, shares, rows)

    def _fastest_rows(self, settings: dict[str, Any]) -> dict[str, int]:
        """For each side the number of rows at which it draws fastest, by one turn each."""
        rows = self.size.rows
        sides = [_sampler(name, settings, rows) for name in ("plain", "ours")]
        measured = alternate(sides, len(rows))
        # Turn 0 is not counted, so the turns begin at the second number and end at the first.
        tried = [*rows[1:], rows[0]]
        return {
            name: max(zip(side.rates, tried, strict=True))[1] for name, side in measured.items()
        }

    def _training(self) -> Iterator[list[Result]]:
        settings = {
            **self._model,
            "texts": self._files["train"],
            "held_out": self._files["held_out"],
            "batch_tokens": self.size.batch_tokens,
            "learning_rate": self.size.learning_rate,
        }
        plain = "benchmarks.training:plain"
        sides = [
            Side("plain", plain, {**settings, "grouped": False}),
            Side("plain, group_by_length", plain, {**settings, "grouped": True}),
            Side("ours", "benchmarks.training:ours", settings),
        ]
        measured = alternate([*sides, _MACHINE], self.size.turns)
        shares = self._text_shares(measured, "train", limits.training_seconds)
        yield _compared("training", "LoRA, one pass", measured, shares)

    def _evaluation(self) -> Iterator[list[Result]]:
        settings = {**self._model, "texts": self._files["scored"]}
        sides = [
            Side("plain", "benchmarks.evaluation:plain_perplexity", settings),
            Side("ours", "benchmarks.evaluation:our_perplexity", settings),
        ]
        measured = alternate([*sides, _MACHINE], self.size.turns)
        shares = self._text_shares(measured, "scored", limits.scoring_seconds)
        yield _compared("evaluation", "perplexity", measured, shares)
        settings |= {"texts": self._files["counted"], "human": self._files["generation"]}
        sides = [
            Side("plain", "benchmarks.evaluation:plain_counts", settings),
            Side("ours", "benchmarks.evaluation:our_counts", settings),
        ]
        measured = alternate(sides, self.size.turns)
        yield _compared("evaluation", "distinct-1 to 4, rare tokens", measured, {})

    def _generation(self) -> Iterator[list[Result]]:
        settings = self._generation_settings()
        sides = [
            Side("plain", "benchmarks.generation:plain", settings),
            Side("ours", "benchmarks.generation:ours", settings),
        ]
        if (num_processes := self._most_processes()) > 1:
            sides.append(_whole_run("several", num_processes, settings))
        measured = whole_processes(sides, self.size.generation_turns)
        several = measured.pop("several", None)
        yield _compared("generation", "whole run", measured, {})
        if several is not None:
            measured["ours"] = several
            yield _compared("generation", f"whole run by {num_processes} processes", measured, {})

    def _processes(self) -> Iterator[list[Result]]:
        num_processes = self._most_processes()
        if num_processes < 2:
            return  # a single GPU has nobody to share with
        settings = {**self._generation_settings(), "generations": 1}
        sides = [
            _whole_run("one process", 1, settings, num_processes),
            _whole_run("ours", num_processes, settings),
        ]
        measured = whole_processes(sides, self.size.generation_turns)
        yield _compared("processes", f"whole run by {num_processes}", measured, {})

    def _threads(self) -> Iterator[list[Result]]:
        settings = {**self._generation_settings(), "generations": 1}
        sides = [_whole_run(name, 1, {**settings, "variables": WAITING[name]}) for name in WAITING]
        measured = whole_processes(sides, self.size.generation_turns)
        yield _compared("threads", "whole run, idle machine", measured, {})
        with busy_cores():
            measured = whole_processes(sides, self.size.generation_turns)
        yield _compared("threads", "whole run beside one process per core", measured, {})

    def _most_processes(self) -> int:
        return int(call("torch.cuda:device_count")) if self.cuda else 2

    def _generation_settings(self) -> dict[str, Any]:
        return {
            **self._model,
            "texts": self._files["generation"],
            "tokens": self.size.generation_tokens,
            "rows": self.size.rows[len(self.size.rows) // 2],
            "max_new_tokens": self.size.max_new_tokens,
            "batch_tokens": self.size.batch_tokens,
            "rate": self.size.learning_rate,
        }

    # --- shares of the limit ----------------------------------------------------------------

    def _sampling_share(self, measured: dict[str, Measured], name: str, rows: int) -> float:
        side, machine = measured[name], measured["machine"]
        documents = limits.Documents(
            side.rate, side.fact("mean_length"), side.fact("mean_square")
        )  # those of one second
        return limits.sampling_seconds(
            self._shape, documents, rows, machine.fact("flops"), machine.fact("bandwidth")
        )

    def _text_shares(
        self, measured: dict[str, Measured], file: str, least_seconds: Any
    ) -> dict[str, float]:
        lengths = call("benchmarks.workload:lengths", **self._model, texts=self._files[file])
        flops = measured["machine"].fact("flops")
        return {
            name: least_seconds(self._shape, limits.Documents(side.rate, *lengths), flops)
            for name, side in measured.items()
            if name != "machine"
        }


def _sampler(name: str, settings: dict[str, Any], rows: tuple[int, ...]) -> Side:
    return Side(name, f"benchmarks.sampling:{name}", {**settings, "rows": rows})


def _whole_run(
    name: str, num_processes: int, settings: dict[str, Any], sharing: int | None = None
) -> Side:
    """A run whose processes have the threads that `sharing` of them leave each."""
    threads = max(1, (os.cpu_count() or 1) // (sharing or num_processes))
    settings = {**settings, "num_processes": num_processes, "cpu_threads": threads}
    return Side(name, "benchmarks.processes:textmad_run", settings)


def _compared(
    part: str,
    case: str,
    measured: dict[str, Measured],
    shares: dict[str, float],
    rows: dict[str, int] | None = None,
) -> list[Result]:
    found = []
    for name, side in measured.items():
        if name == "machine":
            continue
        side_name = f"{name}, {rows[name]} rows" if rows else name
        ratio = None if name == "ours" else measured["ours"].rate / side.rate
        found.append(Result(part, case, side_name, side, ratio, shares.get(name)))
    if "machine" in measured:
        found.append(Result(part, case, "machine", measured["machine"]))
    return found
