"""The run folder as its one writer sees it: made or resumed, locked, and given its records."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmad.errors import RecipeError, RunError, RunInUseError
from textmad.recipe import Recipe, stored_recipe
from textmad.store.commit import TEMPORARY, committed, write_atomically, writing
from textmad.store.manifest import MANIFEST, differences
from textmad.store.provenance import code_version, session, versions

CORPUS = "corpus"
STAGES = ("mix", "model", "sample", "curate", "evaluate")
CRAWL = "crawl"  # before mix, where the recipe has one
RECIPE, PROVENANCE, METRICS = "recipe.yaml", "provenance.json", "metrics.parquet"
_LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files are; `begin` is the way to one that may be written."""

    path: Path

    def stage(self, stage: str, generation: int | None = None) -> Path:
        """The folder of a stage; `generation` is None for the corpus.

        >>> RunFolder(Path("runs/upvotes")).stage("mix", 3).as_posix()
        'runs/upvotes/gen-03/mix'
        """
        assert (stage == CORPUS) == (generation is None), f"{stage} of generation {generation}"
        if generation is None:
            return self.path / stage
        assert stage in (CRAWL, *STAGES), f"{stage} is none of {STAGES}"
        return self.path / f"gen-{generation:02d}" / stage

    def name(self, stage: str, generation: int | None = None) -> str:
        """The stage's name in messages and manifests, as in gen-03/mix."""
        return self.stage(stage, generation).relative_to(self.path).as_posix()

    def committed_stages(self) -> list[Path]:
        """The stage folders that hold a manifest, damaged or not."""
        patterns = (f"{CORPUS}/{MANIFEST}", f"gen-*/*/{MANIFEST}")
        manifests = [path for pattern in patterns for path in self.path.glob(pattern)]
        return sorted(manifest.parent for manifest in manifests)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder if need be, and be its only writer; clears what a kill left over.

        The lock goes with the process, also on kill -9.

        Raises:
            RunInUseError: another process holds it; the message names it.
            RunError: it cannot be made, or holds something other than a run.
        """
        with locked(self.path, RECIPE, "a run"):
            self._clear()
            yield

    def keep_recipe(self, recipe: Recipe) -> None:
        """Write the resolved recipe, or make sure that it is the one that is there.

        Raises:
            RecipeError: another recipe is there; the message names every key that differs.
        """
        path = self.path / RECIPE
        if not path.exists():
            write_atomically(path, recipe.to_yaml().encode())
            return
        differing = differences(stored_recipe(path).dump(), recipe.dump())
        if differing:
            raise RecipeError(
                f"{self.path}: was begun with another recipe: use another --out, or delete the "
                "run\n  " + "\n  ".join(differing)
            )

    def keep_session(
        self,
        *,
        device: str,
        processes: int,
        cpu_threads: int,
        overrides: Mapping[str, Any],
        digests: Mapping[str, str],
        own_code: Mapping[str, str],
    ) -> None:
        """Add this start of the run to provenance.json.

        `overrides` are the values that were laid over the recipe (`--set`), `digests` those of
        the base model, `own_code` those of the user's own filters and evaluators. The latter may
        be mended under way: the stages that use them see to it (`commit.confirm`).

        Raises:
            RunError: the run was begun with other code, libraries or digests; the message names
                each that differs.
        """
        path = self.path / PROVENANCE
        origins = {"code": code_version(), "versions": versions(), "digests": dict(digests)}
        sessions = []
        if path.exists():
            earlier = read_json(path)
            sessions = earlier["sessions"]
            self._refuse_other_origins({key: earlier[key] for key in origins}, origins)
        sessions.append(
            {
                **session(),
                "overrides": dict(overrides),
                "own_code": dict(own_code),
                "device": device,
                "processes": processes,
                "cpu_threads": cpu_threads,
            }
        )
        provenance = {**origins, "sessions": sessions}
        write_atomically(path, (json.dumps(provenance, indent=1) + "\n").encode())

    def keep_metrics(self, metrics: pa.Table) -> None:
        """Write metrics.parquet at the top: every generation's in one table."""
        sink = pa.BufferOutputStream()
        pq.write_table(metrics, sink, compression="zstd")
        write_atomically(self.path / METRICS, sink.getvalue().to_pybytes())

    def leave_nothing_half_begun(self) -> None:
        """Remove the records of a run in which no stage was ever committed."""
        if not self.committed_stages():
            for name in (RECIPE, PROVENANCE):
                (self.path / name).unlink(missing_ok=True)

    def _refuse_other_origins(self, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        differing = differences(there, now)
        if differing:
            raise RunError(
                f"{self.path}: was begun with other code, libraries or sources, so its generations "
                "would not be comparable: install those again, use another --out, or delete the "
                "run\n  " + "\n  ".join(differing)
            )

    def _clear(self) -> None:
        with writing(self.path):
            for pattern in (f"{TEMPORARY}*", f"gen-*/{TEMPORARY}*", f"gen-*/*/{TEMPORARY}*"):
                for path in self.path.glob(pattern):
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()


@contextmanager
def locked(folder: Path, record: str, kind: str) -> Iterator[None]:
    """Make the folder if need be, and be its only writer.

    The lock goes with the process, also on kill -9.

    Args:
        folder: the place.
        record: the file by which a folder of this kind is known.
        kind: in words, as in "a run".

    Raises:
        RunInUseError: another process holds it; the message names it.
        RunError: it cannot be made, or holds something else.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(folder, record, kind)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with writing(folder):
            _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _refuse_foreign(folder: Path, record: str, kind: str) -> None:
    found = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.name != _LOCK and not entry.name.startswith(TEMPORARY)
    )
    if found and record not in found:
        raise RunError(
            f"{folder}: holds files ({', '.join(found[:3])}) but no {record}: expected a "
            f"new or empty folder, or {kind} to resume; choose another --out"
        )


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise RunInUseError(
            f"{folder}: is being written by {holder}: wait for it or stop it, or choose "
            "another --out"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


@contextmanager
def begin(out: str | Path, recipe: Recipe) -> Iterator[RunFolder]:
    """Begin a run in `out`, or resume the one that is there, as its only writer.

    On resuming, every committed stage is read once and held against its SHA-256. A run that ends
    in an error before its first stage leaves no records, so that a mended recipe can begin anew.

    Raises:
        RunError: `out` cannot be written, holds something else, or a stage of it is damaged.
        RunInUseError: another process writes it.
        RecipeError: it was begun with another recipe.
    """
    folder = RunFolder(Path(out))
    with folder.lock():
        folder.keep_recipe(recipe)
        for stage in folder.committed_stages():
            committed(stage, verify=True)
        try:
            yield folder
        except BaseException:
            folder.leave_nothing_half_begun()
            raise


def read_json(path: Path) -> Any:
    """The content of a JSON file of the run folder.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
