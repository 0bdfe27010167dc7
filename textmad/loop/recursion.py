"""The loop. Everything else in textmad is something that it calls.

    run(recipe, out)
      Recursion.gather()                  human text; the base model's text
      Recursion.begin_generation(...)     mix: each member's training set
      Recursion.advance(...)              fit, sample, curate, evaluate: of each member
        fit(member, generation)             inputs, compute, write: what this stage is
          Stages.complete(Stage(...))         is it committed from the same inputs? else compute it
            CausalLM.fit(...)                   computes; others call mixture, curation, evaluators
            store.commit(folder, ...)           writes it whole, or not at all

Each stage reads what earlier stages have committed to disk, and commits its result. So a run that
was interrupted anywhere goes on where it stopped, several processes share one run, and every result
can be inspected in the file that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from textmad import store
from textmad.errors import RecipeError
from textmad.loop.evaluating import evaluate
from textmad.loop.feasibility import check_kept_text, check_tracker
from textmad.loop.human_text import corpus
from textmad.loop.judging import crawl, curate
from textmad.loop.kept_values import machine
from textmad.loop.learning import fit, mix
from textmad.loop.member import Member
from textmad.loop.members import make_members
from textmad.loop.run import Run
from textmad.loop.sampling import base_text, sample
from textmad.loop.side_by_side import side_by_side
from textmad.loop.tracking import tracking
from textmad.models.distributed import processes
from textmad.progress import Progress, SilentProgress
from textmad.recipe import Recipe


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: Progress | None = None,
    num_processes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    shared: store.Sharing | None = None,
    jobs: int = 1,
    cache: str | Path | None = None,
) -> Run:
    """Run a recipe into the folder `out`, or go on with the run that stands there.

    >>> import textmad as tm
    >>> run = tm.run(tm.Recipe(generations=2), out="runs/short")  # doctest: +SKIP

    Args:
        recipe: what to run.
        out: the run folder; created where it is missing.
        progress: told what is being done; silent by default.
        num_processes: how many processes are expected; another number is an error.
        overrides: recorded in the provenance beside the resolved recipe.
        shared: stages that other runs of a study have committed, to be taken over.
        jobs: of a population, how many members are computed at a time, each in a process of its
            own. A script that asks for more than 1 calls `run` below `if __name__ == "__main__":`.
        cache: a folder in which separate runs share what depends on the base model and the human
            text alone; made where it is missing. Runs of a study have one of their own.

    Raises:
        TextmadError: see `textmad.errors`. What was committed before stays and is used again.
    """
    check_kept_text(recipe)
    check_tracker(recipe)
    progress = progress or SilentProgress()
    if cache is not None:
        shared = store.CachedStages(store.open_cache(Path(cache), Path(out)), machine())
    begin = begun(recipe, Path(out), progress, num_processes, overrides, shared)
    with (
        begin as loop,
        tracking(recipe, loop.whole.run) as tracker,
        side_by_side(Recursion, recipe, loop.whole.folder.path, shared, jobs) as advance,
    ):
        loop.gather()
        for generation in range(recipe.generations + 1):
            loop.begin_generation(generation)
            advance(generation)
            for number in range(len(loop.members)):
                loop.advance(number, generation)
            loop.end_generation(generation)
            tracker.send(generation)
        loop.finish()
    return Run(out)


class Recursion:
    """The order of the stages of a run. Each is computed once, committed, and from then on read.

    Attributes:
        whole: the run as if it were one model's. In a population it makes what all members share.
        members: of a population; in a run of one model `whole` itself.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: store.RunFolder,
        progress: Progress,
        shared: store.Sharing | None = None,
    ) -> None:
        self.whole = Member(recipe, folder, progress, shared)
        self.members, self._population = make_members(self.whole)

    @property
    def digests_of_bases(self) -> dict[str, str]:
        """The digests of the base model, and of members with a base model of their own."""
        return self.whole.base_digests | {
            f"base of member {member.folder.member}": member.base.digest
            for member in self.members
            if member.base.digest != self.whole.base.digest
        }

    def gather(self) -> None:
        """Read the human text, and sample what generations' text is compared with."""
        corpus(self.whole)
        if self._population is not None:
            self._population.check_corpus()
        for member in self.members:
            if member.folder.has_own_base_text:
                base_text(member)
        base_text(self.whole)

    def begin_generation(self, generation: int) -> None:
        """Choose whose children the members are, and make the training set of each."""
        if self._population is not None:
            self._population.select(generation - 1)
        for member in self.members:
            if member.recipe.crawls(generation):
                crawl(member, generation)
            mix(member, generation)

    def advance(self, number: int, generation: int) -> None:
        """Compute what a member does in a generation when all members' mixtures are there."""
        member = self.members[number]
        fit(member, generation)
        sample(member, generation)
        curate(member, generation)
        evaluate(member, generation)
        member.close_model()

    def end_generation(self, generation: int) -> None:
        """Measure all members of this generation together."""
        if self._population is not None:
            self._population.measure(generation)

    def finish(self) -> None:
        """Write all generations' metrics into one file, and delete what no stage needs any more."""
        if processes.is_main():
            self.whole.folder.keep_metrics(self.whole.run.metrics_table)
            store.discard(self.whole.folder.path / store.CHECKPOINTS)
        processes.barrier()


@contextmanager
def begun(
    recipe: Recipe,
    out: Path,
    progress: Progress,
    num_processes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    shared: store.Sharing | None = None,
) -> Iterator[Recursion]:
    """The loop over a run folder that this run's first process has locked."""
    running = processes.world_size()
    if num_processes is not None and num_processes != running:
        raise RecipeError(
            f"--processes {num_processes}: this run has {running}: on CPU `accelerate launch` "
            "starts one whatever it is told; use `torchrun --nproc-per-node N -m textmad run ...`"
        )
    with store.begin(out, recipe) if processes.is_main() else nullcontext():
        processes.barrier()
        loop = Recursion(recipe, store.RunFolder(out), progress, shared)
        if processes.is_main():
            loop.whole.folder.keep_session(
                device=str(processes.device()),
                processes=running,
                cpu_threads=torch.get_num_threads(),
                overrides=overrides or {},
                digests=loop.digests_of_bases,
                extent=store.Extent.of(recipe),
                own_code=loop.whole.own_code,
            )
        processes.barrier()
        yield loop
