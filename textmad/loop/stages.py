"""How a stage of the loop is kept: computed once, committed, and from then on read.

Everything that a stage's result depends on is in its inputs; the SHA-256 of these is its key. The
commit itself is in `textmad.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from textmad import store
from textmad.models.distributed import processes
from textmad.models.distributed.distributed_scoring import DistributedScorer
from textmad.progress import Progress

T = TypeVar("T")

_Commit = Callable[[Path, str, Mapping[str, Any], Callable[[Path], None]], store.Manifest]


@dataclass(frozen=True)
class Stage(Generic[T]):
    """One stage: what it is made from, and how its result is computed and written."""

    name: str
    generation: int | None  # None: the corpus
    inputs: Mapping[str, Any]
    compute: Callable[..., T]  # with `resumes` it is given the stage's checkpoints
    write: Callable[[T, Path], None]
    total: int | None = None  # for the progress display
    unit: str = "tokens"  # of the total
    main_only: bool = False  # computed by the first process; the others score for it
    own_code: Mapping[str, str] = field(default_factory=dict)  # digests of the user's source files
    resumes: bool = False  # computed from its latest checkpoint on
    accept: Callable[[Path], None] = lambda folder: None  # raises if another run's result is unfit


@dataclass(frozen=True)
class Stages:
    """The stages of one run."""

    folder: store.RunFolder
    seed: int
    base_digests: Mapping[str, str]
    scorer: DistributedScorer  # the other processes, while the first computes alone
    progress: Progress
    shared: store.Sharing | None = None
    community: str | None = None  # of a member: whose human text its stages read; None: everybody's
    checkpoint_minutes: float = 10.0

    def complete(self, stage: Stage[Any]) -> None:
        """Compute and commit a stage, unless it is committed from the same inputs.

        If only the user's own code has changed since, the stage is computed again and has to give
        the same files. The result of another run with the same inputs, in a study or a cache, is
        reused.

        Raises:
            RunError: the stage is committed from other inputs, or its files are damaged.
        """
        inputs = self._all_inputs(stage)
        manifest = self.manifest(stage.name, stage.generation)
        if manifest is not None:  # the user's own code may differ, nothing else
            expected = {**inputs, "own_code": manifest.inputs["own_code"]}
            self.folder.manifest(stage.name, stage.generation, expected)
        processes.barrier()  # nobody writes before everybody has looked
        if manifest is None:
            self._make_or_reuse(stage, inputs)
        elif manifest.inputs["own_code"] != inputs["own_code"]:
            self._compute(stage, inputs, store.confirm)

    def extend(self, stage: Stage[Any], superseded: Sequence[tuple[str, int]]) -> None:
        """Compute a stage that continues the committed one, and commit it in its place.

        Args:
            stage: its result begins with the committed one, which `compute` may read.
            superseded: name and generation of the stages that were made from the committed one.
                They are deleted first, so that a kill at any moment leaves no stage that does not
                follow from another.
        """
        processes.barrier()  # nobody writes before everybody has looked
        if processes.is_main():
            for name, generation in superseded:
                store.discard(self.folder.stage(name, generation))
        self._compute(stage, self._all_inputs(stage), store.replace)

    def manifest(self, name: str, generation: int | None = None) -> store.Manifest | None:
        """Read the manifest of a stage; None where it is not committed."""
        return self.folder.manifest(name, generation)

    def digest(self, name: str, generation: int | None = None) -> str:
        """SHA-256 of the files that an earlier stage has committed."""
        manifest = self.manifest(name, generation)
        assert manifest is not None, f"{name} of generation {generation} comes later"
        return manifest.digest

    def _all_inputs(self, stage: Stage[Any]) -> dict[str, Any]:
        """The stage's own inputs, and those that every stage has."""
        return {
            **stage.inputs,
            "seed": None if stage.name == store.CORPUS else self.seed,  # one split for many seeds
            "generation": stage.generation,
            **({} if self.folder.member is None else {"member": self.folder.member}),
            **({} if self.community is None else {"community": self.community}),
            "base": self.base_digests,
            "code": store.code_version(),
            "versions": store.versions(),
            "own_code": stage.own_code,
        }

    def _make_or_reuse(self, stage: Stage[Any], inputs: Mapping[str, Any]) -> None:
        folder, title = self._place(stage)
        claim = _claim_nothing
        if self.shared is not None and processes.is_main():
            claim = self.shared.claim
        with claim(folder, title, inputs, stage.accept) as is_reused:
            if not processes.broadcast(is_reused):
                self._compute(stage, inputs, store.commit)

    def _compute(self, stage: Stage[Any], inputs: Mapping[str, Any], commit: _Commit) -> None:
        """Compute the stage in all processes, or in the first one; the first one writes it."""
        is_main = processes.is_main()
        folder, title = self._place(stage)
        member = self.folder.member
        title_of_progress = stage.name if member is None else f"{stage.name} of member {member}"
        with self.progress.stage(stage.generation, title_of_progress, stage.total, stage.unit):
            checkpoints = store.Checkpoints(
                self.folder.path, title, inputs, self.checkpoint_minutes
            )
            with self.scorer.at_work() if stage.main_only else nullcontext():
                if is_main or not stage.main_only:
                    result = stage.compute(checkpoints) if stage.resumes else stage.compute()
            if is_main:
                commit(folder, title, inputs, lambda place: stage.write(result, place))
                checkpoints.discard()
        processes.barrier()

    def _place(self, stage: Stage[Any]) -> tuple[Path, str]:
        """Folder and title of the stage."""
        where = stage.name, stage.generation
        return self.folder.stage(*where), self.folder.name(*where)


def _claim_nothing(*_: Any) -> AbstractContextManager[bool]:
    """The claim of a run that shares nothing with others, and of all but its first process."""
    return nullcontext(False)
