"""Run folders that hold recipe, provenance and metrics, and nothing that took time to compute."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import textmad as tm
from textmad.store import METRICS_SCHEMA, Manifest, stage_key

STAGES = ("mix", "model", "sample", "curate", "evaluate")


def write(
    folder: Path,
    recipe: tm.Recipe,
    values: Mapping[tuple[str, str], Sequence[float]],
    *,
    code: str = "this",
    note: str = "",
) -> Path:
    """A run with these numbers, {(metric, split): one a generation}; none without values."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "provenance.json").write_text(json.dumps({"code": code}))
    for generation in range(max(map(len, values.values()), default=0)):
        rows = [
            (generation, "mine", metric, split, "", numbers[generation], 10, note)
            for (metric, split), numbers in values.items()
        ]
        for stage in STAGES:
            place = folder / f"gen-{generation:02d}" / stage
            place.mkdir(parents=True)
            files = {}
            if stage == "evaluate":
                table = pa.Table.from_arrays(
                    [
                        pa.array(column, field.type)
                        for column, field in zip(
                            zip(*rows, strict=True), METRICS_SCHEMA, strict=True
                        )
                    ],
                    schema=METRICS_SCHEMA,
                )
                pq.write_table(table, place / "metrics.parquet")
                data = (place / "metrics.parquet").read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                files["metrics.parquet"] = {"bytes": len(data), "sha256": digest}
            manifest = Manifest(stage, stage_key({}), {}, files)
            (place / "manifest.json").write_bytes(manifest.to_bytes())
    return folder
