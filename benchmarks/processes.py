"""One whole run by one process and by several, each with as many threads as several leave it.

Also one whole run on an idle machine and beside other work, under three ways of waiting.

The runs are started as a user starts them; with several processes by torchrun. On a machine with
GPUs each process has its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.sides import Done


def textmad_run(
    num_processes: int,
    cpu_threads: int,
    variables: Mapping[str, str] | None = None,
    **settings: Any,
) -> Callable[[int], Done]:
    """`textmad run` in `num_processes` processes.

    Args:
        num_processes: more than one are started by torchrun.
        cpu_threads: of each process.
        variables: of the environment, beside those that are there.
        settings: as of `generation.ours`.
    """
    import textmad as tm
    from benchmarks.generation import recipe_of

    recipe = recipe_of(**settings)
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}", "-m"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(cpu_threads),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **(variables or {}),
    }

    def turn(number: int) -> Done:
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder, "recipe.yaml"), Path(folder, "run")
            path.write_text(recipe.replace(seed=number).to_yaml(), encoding="utf-8")
            words = [*(launcher if num_processes > 1 else []), "textmad", "run", str(path)]
            subprocess.run(
                [sys.executable, "-m", *words, "--out", str(out)],
                env=environment,
                stdout=sys.stderr,  # no part of the table
                check=True,
            )
            return _done(tm.Run(out))

    return turn


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy with a process that only counts."""
    counting = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(counting) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _done(run: Any) -> Done:
    last = int(run.metrics["generation"].max())
    learned_and_drawn = [
        sum(documents["tokens"])
        for generation in range(last + 1)
        for documents in (run.training(generation), run.candidates(generation))
    ]
    metrics = run.metrics.query(f"split == 'held_out' and generation == {last}")
    loss = float(metrics.set_index("metric")["value"]["loss"])
    return Done(sum(learned_and_drawn), lambda: {"held_out_loss": loss})
