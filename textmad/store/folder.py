"""The run folder as its one writer sees it: made or resumed, locked, and given its records."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmad.errors import RecipeError, RunError, RunInUseError
from textmad.recipe import Recipe
from textmad.store.checkpoints import CHECKPOINTS
from textmad.store.commit import committed
from textmad.store.files import (
    TEMPORARY,
    make_folder,
    opened_to_write,
    reading,
    remove,
    write_atomically,
    writing,
)
from textmad.store.manifest import MANIFEST, Manifest, differences
from textmad.store.provenance import code_version, session, versions
from textmad.store.recipe_changes import Extent, forbidden_changes
from textmad.store.records import read_recipe, read_sealed_json, recipe_bytes, sealed_json

CORPUS = "corpus"
BASE = "base"  # text of the base model, sampled as the generations' is: a reference
OF_RUN = (CORPUS, BASE)  # the stages that belong to no generation
STAGES = ("mix", "model", "sample", "curate", "evaluate")
CRAWL = "crawl"  # before mix, where the recipe has one
SELECT, POPULATION = "select", "population"  # of all members of a generation, where there are some
OF_POPULATION = (SELECT, POPULATION)
RECIPE, PROVENANCE, METRICS = "recipe.yaml", "provenance.json", "metrics.parquet"
ORIGINS = ("code", "versions", "digests")  # of provenance.json: the same in every session
RECORDS = "records.json"  # of what filters and scorers report beside their verdicts
HELD_OUT_LOSSES = "held_out_losses.parquet"  # in an evaluate stage that scored held-out text
METRICS_SCHEMA = pa.schema(
    [
        ("generation", pa.int32()),
        ("evaluator", pa.string()),
        ("metric", pa.string()),
        ("split", pa.string()),  # held_out, drawn, kept, human, base, crawled or all
        ("bin", pa.string()),  # "" where there are none
        ("value", pa.float64()),  # NaN where it cannot be computed; then `note` says why
        ("n", pa.int64()),  # tokens, words or documents behind the value
        ("note", pa.string()),
        ("low", pa.float64()),  # of a reference (human, base): one more text of its kind and size
        ("high", pa.float64()),  # has its value between these in 95 of 100 cases; else NaN
    ]
)
_LOCK = ".lock"


def evaluate_stage(number: int) -> str:
    """The stage in which evaluators measure: evaluate, and evaluate-2, ... for those added later.

    >>> evaluate_stage(1), evaluate_stage(2)
    ('evaluate', 'evaluate-2')
    """
    return "evaluate" if number == 1 else f"evaluate-{number}"


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files are; `begin` gives one that may be written.

    In a population each member has a folder in each generation. All share the corpus, and the base
    model's text too, unless a member's own settings change it.
    """

    path: Path
    member: int | None = None  # None: a run of one model, or what a population's members share
    has_own_base_text: bool = False

    def stage(self, stage: str, generation: int | None = None) -> Path:
        """The folder of a stage; `generation` is None for the corpus and the base model's text.

        >>> RunFolder(Path("runs/upvotes")).stage("mix", 3).as_posix()
        'runs/upvotes/gen-03/mix'
        >>> RunFolder(Path("runs/kin"), member=1).stage("mix", 3).as_posix()
        'runs/kin/gen-03/member-1/mix'
        """
        return self.path / self.name(stage, generation)

    def name(self, stage: str, generation: int | None = None) -> str:
        """The stage's name in messages and manifests, as in gen-03/mix."""
        assert (stage in OF_RUN) == (generation is None), f"{stage} of generation {generation}"
        if generation is None:
            is_own = stage == BASE and self.has_own_base_text
            return f"member-{self.member}/{stage}" if is_own else stage
        if stage in OF_POPULATION:
            return f"gen-{generation:02d}/{stage}"
        kind = "evaluate" if stage.startswith("evaluate-") else stage
        assert kind in (CRAWL, *STAGES), f"{stage} is none of {STAGES}"
        return f"{self._of_generation(generation)}/{stage}"

    def _of_generation(self, generation: int) -> str:
        """The folder of a generation, or of this member's part of it."""
        of_member = "" if self.member is None else f"/member-{self.member}"
        return f"gen-{generation:02d}{of_member}"

    def manifest(
        self, stage: str, generation: int | None = None, inputs: Mapping[str, Any] | None = None
    ) -> Manifest | None:
        """Return the manifest of a stage, or None where it is not committed.

        Raises:
            RunError: the stage is damaged, is a copy of another one, or was made from other
                `inputs`.
        """
        name = self.name(stage, generation)
        return committed(self.path / name, name, inputs)

    def evaluate_stages(self, generation: int) -> list[str]:
        """The evaluate stages of a generation that have a folder, in the order of their numbers."""
        with reading(self.path):
            folder = self._of_generation(generation)
            names = [path.name for path in self.path.glob(f"{folder}/evaluate*")]
        numbered = (re.fullmatch(r"evaluate(?:-([2-9]|[1-9]\d+))?", name) for name in names)
        return [evaluate_stage(n) for n in sorted(int(m[1] or 1) for m in numbered if m)]

    def committed_stages(self) -> list[Path]:
        """The stage folders that hold a manifest, damaged or not."""
        patterns = (
            *(f"{stage}/{MANIFEST}" for stage in OF_RUN),
            f"member-*/{BASE}/{MANIFEST}",
            f"gen-*/*/{MANIFEST}",
            f"gen-*/member-*/*/{MANIFEST}",
        )
        with reading(self.path):
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

    def manifests(self, *, verify: bool = False) -> list[Manifest]:
        """Return the manifests of all committed stages; with `verify` check every SHA-256.

        Raises:
            RunError: a stage is damaged, or is a copy of another one.
        """
        manifests = []
        for folder in self.committed_stages():
            name = folder.relative_to(self.path).as_posix()
            manifest = committed(folder, name, verify=verify)
            assert manifest is not None, f"{folder} held a manifest a moment ago"
            manifests.append(manifest)
        return manifests

    def keep_recipe(self, recipe: Recipe) -> None:
        """Write the resolved recipe, new or asking for more than the one that is there.

        Raises:
            RecipeError: what is there was made by another recipe; the message names every key
                that differs.
            RunError: a stage is damaged.
        """
        path = self.path / RECIPE
        manifests = self.manifests(verify=True)
        if path.exists():
            before = read_recipe(path)
            if before.dump() == recipe.dump():
                return
            if lines := forbidden_changes(before, recipe, manifests):
                raise RecipeError(
                    f"{self.path}: was begun with another recipe: use another --out, or delete the "
                    "run\n  " + "\n  ".join(lines)
                )
        write_atomically(path, recipe_bytes(recipe))

    def keep_session(
        self,
        *,
        device: str,
        processes: int,
        cpu_threads: int,
        overrides: Mapping[str, Any],
        extent: Extent,
        digests: Mapping[str, str],
        own_code: Mapping[str, str],
    ) -> None:
        """Add this start of the run to provenance.json.

        `overrides` are the values that were laid over the recipe (`--set`), `extent` what the
        recipe asks for that a later start may ask more of, `digests` those of the base model,
        `own_code` those of the user's own filters and evaluators. These may be changed between two
        starts: the stages that use them see to it (`commit.confirm`).

        Raises:
            RunError: the run was begun with other code, libraries or digests; the message names
                each that differs.
        """
        path = self.path / PROVENANCE
        origins = {"code": code_version(), "versions": versions(), "digests": dict(digests)}
        sessions = []
        if path.exists():
            earlier = read_sealed_json(path, (*ORIGINS, "sessions"))
            sessions = earlier["sessions"]
            self._check_origins({key: earlier[key] for key in ORIGINS}, origins)
        sessions.append(
            {
                **session(),
                "overrides": dict(overrides),
                "extent": extent._asdict(),
                "own_code": dict(own_code),
                "device": device,
                "processes": processes,
                "cpu_threads": cpu_threads,
            }
        )
        write_atomically(path, sealed_json({**origins, "sessions": sessions}))

    def keep_metrics(self, metrics: pa.Table) -> None:
        """Write metrics.parquet at the top: every generation's in one table."""
        sink = pa.BufferOutputStream()
        pq.write_table(metrics, sink, compression="zstd")
        write_atomically(self.path / METRICS, sink.getvalue().to_pybytes())

    def leave_nothing_half_begun(self) -> None:
        """Remove the records of a run in which no stage was ever committed."""
        if not self.committed_stages():
            for name in (RECIPE, PROVENANCE):
                with writing(self.path / name):
                    (self.path / name).unlink(missing_ok=True)

    def _check_origins(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        differing = differences(before, now)
        if differing:
            raise RunError(
                f"{self.path}: was begun with other code, libraries or sources, so its generations "
                "would not be comparable: install those again, use another --out, or delete the "
                "run\n  " + "\n  ".join(differing)
            )

    def _clear(self) -> None:
        with writing(self.path):
            of_generation = ("gen-*/", "gen-*/*/", "gen-*/member-*/*/")
            for inside in ("", f"{CHECKPOINTS}/", "member-*/", *of_generation):
                for path in self.path.glob(f"{inside}{TEMPORARY}*"):
                    remove(path)


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
        make_folder(folder)
        _check_own_folder(folder, record, kind)
    with opened_to_write(folder / _LOCK) as descriptor:
        with writing(folder):
            _take(descriptor, folder)
        yield


def _check_own_folder(folder: Path, record: str, kind: str) -> None:
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.name != _LOCK and not entry.name.startswith(TEMPORARY)
    )
    if names and record not in names:
        raise RunError(
            f"{folder}: holds files ({', '.join(names[:3])}) but no {record}: expected a "
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
        try:
            with reading(folder.path):  # which has errors of its own for what it knows better
                yield folder
        except BaseException:
            folder.leave_nothing_half_begun()
            raise
