"""Run folders that hold recipe, numbers and texts, and nothing that took time to compute."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import textmad as tm
from textmad.mixture import training_tokens
from textmad.store import METRICS_SCHEMA, Manifest, stage_key
from textmad.text.documents import table_of

STAGES = ("mix", "model", "sample", "curate", "evaluate")


def write(
    folder: Path,
    recipe: tm.Recipe,
    values: Mapping[tuple[str, ...], Sequence[float]],
    *,
    code: str = "this",
    note: str = "",
    texts: Sequence[str] = ("one", "two"),
    pool_tokens: int = 10_000_000,
    held_out: Sequence[Sequence[float]] = (),
) -> Path:
    """A run with these numbers, {(metric, split): one a generation}; none without values.

    A name may also be (evaluator, metric, split, bin).

    Every generation drew the same texts, and kept them. `held_out` has the nats of each held-out
    document of ten tokens, by generation.
    """
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "provenance.json").write_text(json.dumps({"code": code}))
    report = {"human": {"documents": 1, "words": 3, "tokens": pool_tokens}}
    corpus = {"human.parquet": _documents(("a human text",)), "corpus.json": _json(report)}
    _commit(folder, "corpus", corpus)
    for generation in range(max(map(len, values.values()), default=0)):
        rows = [
            (
                generation,
                *(key if len(key) == 4 else ("mine", *key, "")),
                numbers[generation],
                10,
                note,
            )
            for key, numbers in values.items()
        ]
        rows = [(*row, *[math.nan] * (len(METRICS_SCHEMA) - len(row))) for row in rows]
        columns = zip(zip(*rows, strict=True), METRICS_SCHEMA, strict=True)
        arrays = [pa.array(column, field.type) for column, field in columns]
        learned = recipe.mix.human_tokens if generation else training_tokens(recipe.mix, 0)
        files = {
            "mix": {"mix.json": _json({"human_tokens": learned})},
            "curate": {"candidates.parquet": _documents(tuple(texts), "model")},
            "evaluate": {
                "metrics.parquet": _parquet(pa.Table.from_arrays(arrays, schema=METRICS_SCHEMA))
            },
        }
        if held_out:
            nats = list(held_out[generation])
            columns = {
                "document": [f"d{i}" for i in range(len(nats))],
                "nats": nats,
                "tokens": [10] * len(nats),
            }
            files["evaluate"]["held_out_losses.parquet"] = _parquet(pa.table(columns))
        for stage in STAGES:
            inputs = {"evaluate": recipe.dump()["evaluate"]} if stage == "evaluate" else {}
            _commit(folder, f"gen-{generation:02d}/{stage}", files.get(stage, {}), inputs)
    return folder


def _named(key: tuple[str, ...]) -> tuple[str, ...]:
    """Evaluator, metric, split and bin."""
    return key if len(key) == 4 else ("mine", *key, "")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _commit(
    folder: Path, stage: str, files: Mapping[str, bytes], inputs: Mapping[str, Any] | None = None
) -> None:
    place = folder / stage
    place.mkdir(parents=True)
    for name, data in files.items():
        (place / name).write_bytes(data)
    listed = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    manifest = Manifest(stage, stage_key(inputs or {}), dict(inputs or {}), listed)
    (place / "manifest.json").write_bytes(manifest.to_bytes())


@cache
def _documents(texts: tuple[str, ...], origin: str = "human") -> bytes:
    num = len(texts)
    columns = {"text": texts, "origin": [origin] * num}
    if origin == "model":
        nothing = [""] * num
        columns |= {"kept": [True] * num, "filter": nothing, "reason": nothing}
        columns |= {"score": [0.5] * num}
    return _parquet(table_of(columns))


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
