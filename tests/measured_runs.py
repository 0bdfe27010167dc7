"""Run folders that hold recipe, numbers and texts, and nothing that took time to compute."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import textmad as tm
from textmad.store import METRICS_SCHEMA, Manifest, stage_key
from textmad.text.documents import table_of

STAGES = ("mix", "model", "sample", "curate", "evaluate")


def write(
    folder: Path,
    recipe: tm.Recipe,
    values: Mapping[tuple[str, str], Sequence[float]],
    *,
    code: str = "this",
    note: str = "",
    texts: Sequence[str] = ("one", "two"),
) -> Path:
    """A run with these numbers, {(metric, split): one a generation}; none without values.

    Every generation drew the same texts, and kept them.
    """
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "provenance.json").write_text(json.dumps({"code": code}))
    _commit(folder, "corpus", {"human.parquet": _documents(("a human text",))})
    for generation in range(max(map(len, values.values()), default=0)):
        rows = [
            (generation, "mine", metric, split, "", numbers[generation], 10, note)
            for (metric, split), numbers in values.items()
        ]
        columns = zip(zip(*rows, strict=True), METRICS_SCHEMA, strict=True)
        arrays = [pa.array(column, field.type) for column, field in columns]
        files = {
            "curate": {"candidates.parquet": _documents(tuple(texts), "model")},
            "evaluate": {
                "metrics.parquet": _parquet(pa.Table.from_arrays(arrays, schema=METRICS_SCHEMA))
            },
        }
        for stage in STAGES:
            inputs = {"evaluate": recipe.dump()["evaluate"]} if stage == "evaluate" else {}
            _commit(folder, f"gen-{generation:02d}/{stage}", files.get(stage, {}), inputs)
    return folder


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
