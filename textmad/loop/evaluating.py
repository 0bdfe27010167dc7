"""How a generation is measured: each evaluator once, also those that are added to a finished run.

    evaluate(member, generation)          one stage for each time that evaluators were added
      ContextBuilder.of_evaluator(...)      held-out text, equal samples of all text
      measure(evaluator, snapshot)

Measurements that are committed are never made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmad import mixture, store
from textmad.evaluators import measure
from textmad.evaluators.held_out import held_out_losses
from textmad.loop.contexts import source_digests
from textmad.loop.member import Member, own_code
from textmad.loop.stages import Stage
from textmad.recipe.components import Component


def evaluate(member: Member, generation: int) -> None:
    """Measure the model on held-out text, and its text beside as much human text.

    Evaluators that were added to a run measure in a stage of their own, behind those before.
    """
    pending = {
        store.canonical(component.dump()): (component, evaluator)
        for component, evaluator in zip(member.recipe.evaluate, member.evaluators, strict=True)
    }
    stages = {
        stage: manifest
        for stage in member.folder.evaluate_stages(generation)
        if (manifest := member.stages.manifest(stage, generation)) is not None
    }
    for stage, manifest in stages.items():
        keys = [store.canonical(part) for part in manifest.inputs["evaluate"]]
        _measure(member, generation, stage, [pending.pop(key) for key in keys])
    if pending or not stages:
        free = next(name for name in map(store.evaluate_stage, count(1)) if name not in stages)
        _measure(member, generation, free, list(pending.values()))


def _measure(
    member: Member, generation: int, stage: str, evaluators: Sequence[tuple[Component, Any]]
) -> None:
    """Measure a generation by some of the evaluators, in one stage."""
    named = [(component.name, evaluator) for component, evaluator in evaluators]
    inputs = {
        "evaluate": [component.dump() for component, _ in evaluators],
        "min_tokens": mixture.compared_tokens(member.recipe.mix, member.recipe.sample),
        "corpus": member.stages.digest("corpus"),
        "base text": member.stages.digest(store.BASE),
        **{name: member.stages.digest(name, generation) for name in ("mix", "model", "curate")},
    }
    if sources := source_digests([evaluator for _, evaluator in named]):
        inputs["sources"] = sources
    if member.recipe.crawls(generation):
        inputs["crawl"] = member.stages.digest("crawl", generation)

    held_out_tokens = [
        part.held_out_tokens for _, part in named if hasattr(part, "held_out_tokens")
    ]

    def compute() -> tuple[pa.Table, pa.Table | None]:
        rows, losses = [], None
        if named:  # else nobody asks for the snapshot
            snapshot = member.contexts.of_evaluator(generation)
            for name, evaluator in named:
                rows += [
                    {"generation": generation, "evaluator": name, **vars(measurement)}
                    for measurement in measure(name, evaluator, snapshot)
                ]
                member.progress.advance(1)
            if held_out_tokens:
                losses = held_out_losses(snapshot, held_out_tokens)
        return pa.Table.from_pylist(rows, store.METRICS_SCHEMA), losses

    def write(measured: tuple[pa.Table, pa.Table | None], folder: Path) -> None:
        metrics, losses = measured
        pq.write_table(metrics, folder / "metrics.parquet")
        if losses is not None:
            pq.write_table(losses, folder / store.HELD_OUT_LOSSES)

    member.stages.complete(
        Stage(
            stage,
            generation,
            inputs,
            compute,
            write,
            total=len(named),
            unit="evaluators",
            main_only=True,
            own_code=own_code(named),
        )
    )
