"""A study's runs as an array of Slurm tasks: the script, and what a task of it does.

Nothing conducts such a study while its tasks run. Each reads its recipe from the study's folder,
which the nodes share, and claims stages there as the processes of the local pool do.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from textmad.errors import RunError
from textmad.studies.arms import Study
from textmad.studies.critical_share import grown
from textmad.studies.engines.local import Job, search_path, threads_each
from textmad.studies.folder import LOGS, STUDY, RunState, begun, read_record, states

_SCRIPT = """\
#!/bin/bash
# {num_runs} runs of the study in {folder}, a task each.
# Fit the #SBATCH lines to your cluster (## is a line not in force), then: sbatch THIS_FILE
# A run that is cut off goes on when its task is submitted again. When all tasks have ended,
# `textmad study` with the same --out, and without --emit, takes up what failed and sums up.
#
#SBATCH --job-name={title}
#SBATCH --array=0-{last}
#SBATCH --time=24:00:00
#SBATCH --mem=16G
# The number of threads changes results in the last bits: it stays that of the study.
#SBATCH --cpus-per-task={cpu_threads}
# One kind of node for all runs, so that they can be compared to the last bit.
##SBATCH --gpus-per-task=1
##SBATCH --constraint=
##SBATCH --partition=
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={log}

set -u
runs=(
{runs}
)
cd {here} || exit 1
export PYTHONPATH={search_path}
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
exec {python} -m textmad.studies.engines.worker {folder} "${{runs[SLURM_ARRAY_TASK_ID]}}"
"""


def emit_slurm(
    study: Study, path: Path, tell: Callable[[str], None] = lambda line: None
) -> tuple[str, list[RunState]]:
    """Begin the study in the folder `path`, or go on with it, and leave its runs to Slurm.

    Returns:
        The script for sbatch, and the runs that its tasks compute: those that are not finished.

    Raises:
        TextmadError: the study is invalid; RunError also where all of its runs are finished.
    """
    path = path.absolute()
    study = grown(study, path, tell)
    with begun(study, path, threads_each(1), tell) as cpu_threads:
        (path / LOGS).mkdir(exist_ok=True)  # a task whose output cannot be opened just fails
        runs = [run for run in states(study, path, {}) if run.state != "finished"]
    if not runs:
        raise RunError(f"{path}: all runs are finished: leave out --emit to sum them up")
    log = str(path / LOGS).replace("%", "%%") + "/slurm-%A_%a.log"
    script = _SCRIPT.format(
        num_runs=len(runs),
        last=len(runs) - 1,
        folder=shlex.quote(str(path)),
        title=shlex.quote(f"textmad-{path.name}"),
        cpu_threads=cpu_threads,
        log=shlex.quote(log),
        runs="\n".join(f"  {shlex.quote(run.run.name)}" for run in runs),
        here=shlex.quote(str(Path.cwd())),
        search_path=shlex.quote(search_path()),
        python=shlex.quote(sys.executable),
    )
    return script, runs


def recorded_job(path: Path, name: str) -> Job:
    """The run of this name, as study.yaml has it, for the Slurm task that asks.

    Raises:
        RunError: the task has other CPUs than the study has threads, or there is no such run.
    """
    record = read_record(path)
    cpu_threads, cpus = int(record["cpu_threads"]), os.environ.get("SLURM_CPUS_PER_TASK", "none")
    if cpus != str(cpu_threads):
        raise RunError(
            f"{path}: SLURM_CPUS_PER_TASK: {cpus}: the study was begun with {cpu_threads} CPU "
            f"threads a run: set #SBATCH --cpus-per-task={cpu_threads}, or delete its runs and "
            f"emit it again under OMP_NUM_THREADS={cpus}"
        )
    for arm in record["arms"].values():
        for seed in record["seeds"]:
            if f"{arm['folder']}/seed-{seed}" == name:
                return Job(str(path), name, {"seed": seed, **arm["recipe"]}, cpu_threads)
    raise RunError(f"{path / STUDY}: has no run {name}: emit the script again")
