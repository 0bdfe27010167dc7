"""How a stage of the loop is kept: computed once, committed, and from then on read.

Whatever a stage's result depends on goes into its inputs, and the digest of these is its key. The
commit itself is `textmad.store`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from textmad import store
from textmad.models.distributed import processes
from textmad.models.distributed.distributed_scoring import DistributedScorer
from textmad.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Stages:
    """The stages of one run."""

    folder: store.RunFolder
    seed: int
    base_digests: Mapping[str, str]
    crew: DistributedScorer  # at work while the first process computes alone
    progress: Progress
    shared: store.SharedStages | None = None

    def keep(
        self,
        name: str,
        generation: int | None,
        inputs: Mapping[str, Any],
        compute: Callable[[], T],
        write: Callable[[T, Path], None],
        *,
        total: int | None = None,
        main_only: bool = False,
        own_code: Mapping[str, str] | None = None,
        accept: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        """Compute and commit a stage, unless it is there from the same inputs.

        Where only the user's own filters or evaluators were changed since (mended, most often),
        it is computed again, and has to come out the same. What another run of a study has
        committed from the same inputs is taken over, if `accept` does not object.
        """
        folder, title = self.folder.stage(name, generation), self.folder.name(name, generation)
        inputs = {
            **inputs,
            "seed": None if name == "corpus" else self.seed,  # one split for all seeds
            "generation": generation,
            "base": self.base_digests,
            "code": store.code_version(),
            "versions": store.versions(),
            "own_code": own_code or {},
        }
        there = store.committed(folder)
        made_by = inputs["own_code"] if there is None else there.inputs["own_code"]
        store.committed(folder, {**inputs, "own_code": made_by})  # all else is as it was
        processes.barrier()  # nobody writes before everybody has looked
        if there is not None and made_by == inputs["own_code"]:
            return
        claim = self.shared.claim if self.shared is not None and there is None else _alone
        with claim(folder, title, inputs, accept) as taken_over:
            if taken_over:
                return
            with self.progress.stage(generation, name, total, "tokens"):
                with self.crew.at_work() if main_only else nullcontext():
                    if not main_only or processes.is_main():
                        value = compute()
                if processes.is_main():
                    commit = store.commit if there is None else store.confirm
                    commit(folder, title, inputs, lambda place: write(value, place))
        processes.barrier()

    def digest(self, stage: str, generation: int | None = None) -> str:
        """Of what a stage has committed; all that it depends on is in it."""
        manifest = store.committed(self.folder.stage(stage, generation))
        assert manifest is not None, f"{stage} of generation {generation} comes later"
        return manifest.digest


def _alone(*_: Any) -> AbstractContextManager[bool]:
    """The claim of a run that shares with none: nothing is taken over."""
    return nullcontext(False)
