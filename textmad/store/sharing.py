"""Stages that runs of a study have in common: one run computes them, the others reuse them.

A stage's key is the SHA-256 of everything that its result depends on. So a stage of the same name
and key that another run has committed is, to the last byte, what this run would compute.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from textmad.errors import RunError
from textmad.store.commit import commit, committed
from textmad.store.files import append, opened_to_write
from textmad.store.manifest import MANIFEST, stage_key

_LOCK = ".sharing"
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
        with self._alone(key):
            begun = time.perf_counter()
            source = self._find(stage, key, of_any_seed=inputs["seed"] is None)
            if source is not None:
                accept(self.study / "runs" / source / stage)
                self._reuse(source, folder, stage, inputs)
            yield source is not None
            seconds = round(time.perf_counter() - begun, 3)
            self._note(StageRecord(self.run, stage, key, source, seconds))

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Hold the key's byte of one file: a lock that goes with the process and leaves nothing."""
        with opened_to_write(self.study / _LOCK) as descriptor:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, int(key[:15], 16))
            yield

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

    def _reuse(self, run: str, folder: Path, stage: str, inputs: Mapping[str, Any]) -> None:
        source = self.study / "runs" / run / stage
        manifest = committed(source, stage)
        assert manifest is not None, f"{source} was there a moment ago"

        def link(place: Path) -> None:
            for name in manifest.files:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source / name, place / name)
                except OSError:  # this file system has no hard links
                    shutil.copyfile(source / name, place / name)

        commit(folder, stage, inputs, link)

    def _note(self, record: StageRecord) -> None:
        append(self.study / _LOG, json.dumps(record._asdict()) + "\n")


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
