"""Stages that runs have in common: one run computes them, the others reuse them.

A stage's key is the SHA-256 of everything that its result depends on. So a stage of the same name
and key that another run has committed is, to the last byte, what this run would compute. Runs of a
study look for it in each other (`SharedStages`), separate runs in a cache that they name
(`CachedStages`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from textmad.errors import RunError
from textmad.store.cache import Cache, alone, linked
from textmad.store.commit import commit, committed
from textmad.store.files import append
from textmad.store.manifest import MANIFEST, stage_key

CACHE = "cache"  # of a study's folder
_LOG = "stages.jsonl"


class StageRecord(NamedTuple):
    """Whether a run computed a stage or reused it, and how long that took."""

    run: str  # as in voted/seed-0
    stage: str  # as in gen-00/mix
    key: str
    source: str | None  # the run whose stage was reused; None: computed
    seconds: float


class SharedStages:
    """The stages of the other runs under `study`/runs that a run, as arm/seed-0, may reuse."""

    def __init__(self, study: Path, run: str) -> None:
        self.study, self.run = study, run

    @property
    def cache(self) -> Cache:
        """What evaluators of the study's runs have computed of base model and human text."""
        return Cache(self.study / CACHE)

    @contextmanager
    def claim(
        self,
        folder: Path,
        stage: str,
        inputs: Mapping[str, Any],
        accept: Callable[[Path], None],
    ) -> Iterator[bool]:
        """Copy the stage of another run into `folder`, or have the caller compute it there.

        Nobody else computes the same stage meanwhile: other runs that claim it wait, in other
        processes too.

        Args:
            folder: the stage's place in this run.
            stage: its name, as in gen-00/mix.
            inputs: everything that it depends on; `seed` is None for what all seeds share.
            accept: called with the stage's folder before it is reused; what it raises is raised.

        Yields:
            Whether it was reused. If not, the caller commits it inside the `with`.

        Raises:
            RunError: the place cannot be written.
        """
        key = stage_key(inputs)
        with alone(self.study, key):
            begun = time.perf_counter()
            source = self._find(stage, key, of_any_seed=inputs["seed"] is None)
            if source is not None:
                place = self.study / "runs" / source / stage
                accept(place)
                _take_over(place, folder, stage, inputs)
            yield source is not None
            seconds = round(time.perf_counter() - begun, 3)
            self._note(StageRecord(self.run, stage, key, source, seconds))

    def _find(self, stage: str, key: str, of_any_seed: bool) -> str | None:
        runs = self.study / "runs"
        # What depends on a seed is searched in runs of that seed alone: else n runs look n^2 times.
        seed = "seed-*" if of_any_seed else Path(self.run).name
        for path in sorted(runs.glob(f"*/{seed}/{stage}/{MANIFEST}")):
            if f'"{key}"'.encode() not in path.read_bytes():
                continue
            try:
                manifest = committed(path.parent, stage, verify=True)
            except RunError:  # damaged: its own run says so
                continue
            if manifest is not None and manifest.key == key:
                return path.parents[stage.count("/") + 1].relative_to(runs).as_posix()
        return None

    def _note(self, record: StageRecord) -> None:
        append(self.study / _LOG, json.dumps(record._asdict()) + "\n")


class CachedStages:
    """The stages of a cache that runs in no study share: those that belong to no generation.

    Args:
        cache: the folder.
        machine: on which machine, with how many threads, they are computed. Runs of a study have
            that in common; these may differ in it, and so in the last bits of what they compute.
    """

    def __init__(self, cache: Cache, machine: Mapping[str, Any]) -> None:
        self.cache, self.machine = cache, machine

    @contextmanager
    def claim(
        self,
        folder: Path,
        stage: str,
        inputs: Mapping[str, Any],
        accept: Callable[[Path], None],
    ) -> Iterator[bool]:
        """Link or copy a stage of the cache into `folder`, or have the caller compute and keep it.

        As `SharedStages.claim`. A stage of a generation is always the caller's to compute.
        """
        if inputs["generation"] is not None:
            yield False
            return
        cached = {**inputs, "machine": self.machine}
        with self.cache.alone(cached):
            source = self.cache.find(stage, cached)
            if source is not None:
                accept(source)
                _take_over(source, folder, stage, inputs)
            yield source is not None
            if source is None and (manifest := committed(folder, stage)) is not None:
                self.cache.keep(stage, cached, linked(folder, manifest))


def _take_over(source: Path, folder: Path, stage: str, inputs: Mapping[str, Any]) -> None:
    """Commit to `folder` what `source` holds, by links or copies."""
    manifest = committed(source, stage)
    assert manifest is not None, f"{source} was there a moment ago"
    commit(folder, stage, inputs, linked(source, manifest))


Sharing = SharedStages | CachedStages
"""Where a run looks for stages that others have computed."""


def stage_records(study: Path) -> list[StageRecord]:
    """Return the latest record of each stage of a study's runs, in the order of time."""
    path = study / _LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    latest: dict[tuple[str, str], StageRecord] = {}
    for line in lines:
        try:
            record = StageRecord(**json.loads(line))
        except (ValueError, TypeError):  # a kill cut it off
            continue
        latest[record.run, record.stage] = record
    return list(latest.values())
