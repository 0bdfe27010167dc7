"""A study computes what its runs share once, goes on where it stopped, and outlives a bad arm."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import textmad as tm
from tests.people_runs import settings_of_words, write_words
from tests.run_contents import contents
from textmad import cli, store
from textmad.loop import recursion
from textmad.loop.member import Member
from textmad.store.records import read_sealed_json, sealed_json
from textmad.studies import RunState, emit_slurm, parse_study, saved, states
from textmad.studies.engines.ray import check_node
from textmad.studies.engines.slurm import recorded_job

RUN = ("corpus", "base")  # once a run; the base model's own text does not depend on the filters
GENERATION = ("mix", "model", "sample", "curate", "evaluate")
PICKY = {"curate": [{"random": {"keep": 0.6}}], "sample.oversample": 2.5}


def came_by(study: Path, *, taken: bool) -> dict[str, list[str]]:
    """The stages that each run has taken over, or computed."""
    found: dict[str, list[str]] = {}
    for record in store.stage_records(study):
        if (record.source is not None) == taken:
            found.setdefault(record.run, []).append(record.stage)
    return found


@pytest.fixture(scope="module")
def recipe(
    tmp_path_factory: pytest.TempPathFactory, tiny_language: ModuleType, tiny_gpt2_folder: Path
) -> tm.Recipe:
    """Generations 0 and 1 of 200 tokens each; what they learn does not matter here."""
    corpus = tiny_language.write_corpus(tmp_path_factory.mktemp("corpus") / "human.jsonl", 60)
    return tm.Recipe(
        generations=1,
        corpus={"source": str(corpus)},
        model={"base": str(tiny_gpt2_folder), "lora": {"rank": 2}},
        mix={"model_tokens": 200},
        sample={"min_tokens": 200, "max_new_tokens": 30},
        evaluate=[{"perplexity": {"held_out_tokens": 200}}],
    )


@pytest.fixture(scope="module")
def plan(recipe: tm.Recipe) -> dict[str, Any]:
    """Three arms, the last of them the control."""
    arms = {"plain": {}, "picky": PICKY}
    return {"recipe": recipe, "seeds": [3], "arms": arms, "controls": {"human": "fresh"}}


@pytest.fixture(scope="module")
def finished(plan: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study run to its end; only to be read."""
    out = tmp_path_factory.mktemp("studies") / "finished"
    tm.study(plan, out)
    return out


@pytest.fixture(scope="module")
def words_plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two arms on a distribution over words: a worker starts in half the time without a network."""
    corpus = write_words(tmp_path_factory.mktemp("words"), 200)
    recipe = tm.Recipe(**settings_of_words(corpus, sample={"min_tokens": 60}))
    arms = {"plain": {}, "picky": PICKY}
    return {"recipe": recipe, "seeds": [3], "arms": arms, "controls": False}


@pytest.fixture(scope="module")
def finished_words(words_plan: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That study run to its end; only to be read."""
    out = tmp_path_factory.mktemp("studies") / "words"
    tm.study(words_plan, out)
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "study"))


def test_every_run_of_a_study_is_to_the_last_byte_the_run_alone(
    plan: dict[str, Any], finished: Path, tmp_path: Path
):
    runs = parse_study(plan, "", Path()).runs()
    assert [run.name for run in runs] == ["plain/seed-3", "picky/seed-3", "human-only/seed-3"]
    for run in runs[1:]:  # those that have taken something over
        alone = tm.run(run.recipe, tmp_path / run.arm)
        assert contents(finished / "runs" / run.name) == contents(alone.path)


def test_stages_of_the_same_inputs_are_computed_once(finished: Path):
    # All learn from the same human text in generation 0. The control draws as much as `plain`,
    # and keeps all of it too, so that it parts from it in generation 1 alone.
    generation_0 = [f"gen-00/{stage}" for stage in GENERATION]
    assert came_by(finished, taken=True) == {
        "picky/seed-3": [*RUN, *generation_0[:2]],
        "human-only/seed-3": [*RUN, *generation_0],
    }
    computed = came_by(finished, taken=False)
    assert {run: len(stages) for run, stages in computed.items()} == {
        "plain/seed-3": 2 + 5 + 5,
        "picky/seed-3": 3 + 5,
        "human-only/seed-3": 5,
    }
    found = saved(finished)
    assert (found.stages, found.of) == (4 + 7, 3 * 12)
    # All that is taken over was computed by the first run, in the seconds of its records.
    records = store.stage_records(finished)
    seconds = {r.stage: r.seconds for r in records if r.run == "plain/seed-3"}
    taken = [r for r in records if r.source is not None]
    assert found.seconds == pytest.approx(sum(max(seconds[r.stage] - r.seconds, 0) for r in taken))
    assert 0 < found.seconds < sum(seconds[r.stage] for r in taken)


def test_a_file_of_a_shared_stage_is_there_once(finished: Path):
    name = "seed-3/gen-00/model/adapter_model.safetensors"
    inodes = {(finished / "runs" / arm / name).stat().st_ino for arm in ("plain", "picky")}
    assert len(inodes) == 1


def test_a_stage_is_taken_over_only_where_the_corpus_holds_enough_for_the_run(
    plan: dict[str, Any], tmp_path: Path
):
    recipe = plan["recipe"].replace(generations=0, evaluate=[])
    base = {**plan, "controls": False, "recipe": recipe}
    arms = {"plain": {}, "greedy": {"mix.model_tokens": 9_000_000}}
    with pytest.raises(tm.CorpusError, match="the recipe needs 9,000,000 up to generation 0"):
        tm.study({**base, "arms": arms}, tmp_path / "study")
    # Nothing was begun, so that a mended arm may use the folder.
    assert not (tmp_path / "study/runs/greedy/seed-3/recipe.yaml").exists()
    runs = tm.study({**base, "arms": {"plain": {}}, "seeds": [3, 4]}, tmp_path / "study")
    assert [run.complete for run in runs["plain"]] == [True, True]
    # What is held out does not depend on the seed: one split serves all of them.
    assert came_by(tmp_path / "study", taken=True) == {"plain/seed-4": ["corpus"]}


def test_the_study_records_its_arms_with_what_they_are_put_beside(finished: Path):
    record = yaml.safe_load((finished / "study.yaml").read_text())
    assert (record["seeds"], record["cpu_threads"]) == ([3], 1)
    arms = record["arms"]
    found = {name: (arm["folder"], arm["control"], arm["of"]) for name, arm in arms.items()}
    assert found == {
        "plain": ("plain", None, []),
        "picky": ("picky", None, []),
        "human only": ("human-only", "human", ["plain", "picky"]),
    }
    for arm in arms.values():
        run = tm.Run(finished / "runs" / arm["folder"] / "seed-3")
        assert {"seed": 3, **arm["recipe"]} == yaml.safe_load(run.recipe.to_yaml())


# --- going on -------------------------------------------------------------------------------


def test_an_interrupted_study_goes_on_where_it_stopped(
    plan: dict[str, Any], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[RunState] = []
    mixed = recursion.mix

    def stop(member: Member, generation: int) -> None:
        if member.recipe.curate and generation == 1:
            raise KeyboardInterrupt
        mixed(member, generation)

    with monkeypatch.context() as stopped:
        stopped.setattr(recursion, "mix", stop)
        with pytest.raises(KeyboardInterrupt):
            tm.study(plan, tmp_path / "study", at_end=seen.extend)
    assert [(s.run.arm, s.state, s.generations) for s in seen] == [
        ("plain", "finished", 2),
        ("picky", "begun", 1),
        ("human only", "not begun", 0),
    ]
    before = store.stage_records(tmp_path / "study")
    tm.study(plan, tmp_path / "study", at_end=lambda runs: seen.__setitem__(slice(None), runs))
    assert {state.state for state in seen} == {"finished"}
    # What was there is still what was computed or taken over then.
    assert store.stage_records(tmp_path / "study")[: len(before)] == before
    for arm in ("plain", "picky", "human-only"):
        name = f"runs/{arm}/seed-3"
        assert contents(tmp_path / "study" / name) == contents(finished / name)


def test_a_finished_study_is_verified_on_its_threads_and_not_computed_again(
    plan: dict[str, Any], copied: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("textmad.studies.runner.threads_each", lambda jobs: 2)
    before, records = contents(copied), store.stage_records(copied)
    runs = tm.study(plan, copied)
    assert contents(copied) == before
    assert store.stage_records(copied) == records
    # The last bits depend on the number of threads: it is that with which the study was begun.
    sessions = runs["picky"][0].provenance["sessions"]
    assert [session["cpu_threads"] for session in sessions] == [1, 1]
    (copied / "runs/picky/seed-3/gen-01/mix/training.parquet").write_bytes(b"cut")
    with pytest.raises(tm.RunError, match=r"1 of 3 runs failed(.|\n)*training.parquet: holds 3"):
        tm.study(plan, copied)


def test_seeds_and_arms_may_be_added_to_a_study(plan: dict[str, Any], finished: Path):
    more = {**plan, "seeds": [3, 4], "arms": {**plan["arms"], "hot": {"sample.temperature": 2}}}
    # Those that are there come to be part of the larger study.
    found = states(parse_study(more, "", Path()), finished, {})
    there = [state.run.name for state in found if state.state == "finished"]
    assert there == ["plain/seed-3", "picky/seed-3", "human-only/seed-3"]
    assert len(found) == (3 + 1 + 1) * 2  # the new arm has a control of its own


# --- what is refused before anything is spent -----------------------------------------------


def change_code(folder: Path) -> None:
    path = folder / "provenance.json"
    path.write_bytes(sealed_json({**read_sealed_json(path), "code": "0ld"}))


def test_runs_by_another_version_of_the_code_are_errors_at_once(plan: dict[str, Any], copied: Path):
    for arm in ("picky", "human-only"):
        change_code(copied / "runs" / arm / "seed-3")
    shutil.rmtree(copied / "runs" / "plain")
    with pytest.raises(tm.RunError) as caught:
        tm.study(plan, copied)
    assert str(caught.value) == (
        f"{copied}: has runs by other code or libraries, which new ones could not be compared "
        "with: install those again, use another --out, or delete these runs\n"
        f"  code: 0ld there, {store.code_version()} now (runs/human-only/seed-3 and 1 more)"
    )
    assert not (copied / "runs" / "plain").exists()


def test_another_study_in_the_folder_is_an_error_with_what_differs(
    plan: dict[str, Any], copied: Path
):
    record = (copied / "study.yaml").read_bytes()
    with pytest.raises(tm.RecipeError) as caught:
        tm.study({**plan, "arms": {"picky": {**PICKY, "sample.oversample": 2}}}, copied)
    assert re.fullmatch(
        f"{copied}: was begun as another study: restore that, use another --out, or delete these "
        r"runs\n  runs/picky/seed-3: sample\.oversample: 2: samples [\d,]+ tokens a generation, "
        r"there are [\d,]+ already: give as much as before, or more\n"
        r"  runs/plain/seed-3: is no run of this study; move it elsewhere",
        str(caught.value),
    )
    assert (copied / "study.yaml").read_bytes() == record


def test_a_folder_of_something_else_and_one_in_use_are_errors(plan: dict[str, Any], tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(tm.RunError, match=r"holds files \(thesis.tex\) but no study.yaml"):
        tm.study(plan, tmp_path)
    with (
        store.locked(tmp_path / "study", "study.yaml", "a study"),
        pytest.raises(tm.RunInUseError, match="is being written by process"),
    ):
        tm.study(plan, tmp_path / "study")


def test_a_study_has_no_launcher_and_at_least_one_job(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(tm.RunError, match="jobs: 0: expected at least 1"):
        tm.study(plan, tmp_path, jobs=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(tm.RunError, match="have one process each: start it without a launcher"):
        tm.study(plan, tmp_path)


# --- arms that fail -------------------------------------------------------------------------

FILTERS = """
import numpy as np
import textmad as tm

def judge(candidates, context):
    print("judging")  # not among the answers of a worker
    if context.generation == 1:
        raise ValueError("no such word")
    return tm.Verdicts(keep=np.ones(len(candidates), bool), score=np.ones(len(candidates)))

def stops(candidates, context):
    import os
    os._exit(7)
"""


@pytest.fixture
def write_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.syspath_prepend(tmp_path)

    def write(module: str) -> str:
        (tmp_path / f"{module}.py").write_text(FILTERS)
        return module

    return write


def test_a_failing_arm_stops_no_other_and_is_told_at_the_end(
    plan: dict[str, Any],
    tmp_path: Path,
    write_filters: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
):
    module = write_filters("failing_here")
    bad = {"bad": {"curate": [f"{module}:judge"]}, **plan["arms"]}
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump({**plan, "recipe": plan["recipe"].dump(), "arms": bad, "controls": False})
    )
    out = tmp_path / "study"
    with pytest.raises(tm.CurationError) as failed:  # exit code 5
        cli.app(["study", str(path), "--out", str(out)], standalone_mode=False)
    message = f"filter {module}:judge, generation 1: raised ValueError: no such word"
    first, second, *_ = str(failed.value).splitlines()
    assert first == "1 of 3 runs failed; the same command tries them again"
    assert second.startswith(f"  bad/seed-3: {message}")
    printed = capsys.readouterr()
    assert "run 1 of 3: bad, seed 3\n" in printed.err
    rows = [re.split(r"\s{2,}", line.strip()) for line in printed.out.splitlines()]
    table = {row[0]: row[1:4] for row in rows if len(row) > 3}
    assert table == {
        "arm": ["seed", "state", "generations"],
        "bad": ["3", "failed", "1 of 2"],
        "plain": ["3", "finished", "2 of 2"],
        "picky": ["3", "finished", "2 of 2"],
    }
    assert "shared: " in printed.out
    assert printed.out.splitlines()[-2:] == [
        f"runs: {out / 'runs'}",
        f"compare them: textmad compare {out}",
    ]


def test_a_filter_that_exits_ends_its_run_and_not_the_study(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recursion, "run", lambda *args, **options: sys.exit(3))
    with pytest.raises(tm.TextmadError, match="3 of 3 runs failed") as failed:
        tm.study(plan, tmp_path)
    log = tmp_path / "logs/plain/seed-3.log"
    assert f"plain/seed-3: SystemExit: 3: where it was raised is in {log}" in str(failed.value)
    assert "sys.exit(3)" in log.read_text()


def test_two_jobs_share_stages_and_tell_how_each_ended(
    words_plan: dict[str, Any],
    finished_words: Path,
    tmp_path: Path,
    write_filters: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    module = write_filters("failing_there")
    arms = {"plain": {}, "gone": {"curate": [f"{module}:stops"]}, "picky": PICKY}
    told: list[str] = []
    with pytest.raises(tm.TextmadError) as failed:
        tm.study({**words_plan, "arms": arms}, tmp_path / "out", jobs=2, tell=told.append)
    log = tmp_path / "out/logs/gone/seed-3.log"
    reason = f"its process was ended with exit code 7; what it said is in {log}"
    assert str(failed.value).splitlines()[1:] == [f"  gone/seed-3: {reason}"]
    titles = ("plain, seed 3", "gone, seed 3", "picky, seed 3")
    stages = [line for line in told if line.startswith(titles)]
    left = re.compile("; about .* left$")  # is told where the runs take long enough
    assert sorted(left.sub("", line) for line in told if line not in stages) == sorted(
        [
            "run 1 of 3 begins: plain, seed 3",
            "run 2 of 3 begins: gone, seed 3",
            f"failed: gone, seed 3: {reason}",
            "run 3 of 3 begins: picky, seed 3",
            "done: plain, seed 3",
            "done: picky, seed 3",
        ]
    )
    # Both began at once; what they share was computed by one, and by whichever it was taken over.
    records = store.stage_records(tmp_path / "out")
    computed = [record.key for record in records if record.source is None]
    assert len(set(computed)) == len(computed)
    shared = {*RUN, "gen-00/mix", "gen-00/model", "gen-00/sample"}
    assert {record.stage for record in records if record.source is not None} == shared
    for arm in ("plain", "picky"):
        name = f"runs/{arm}/seed-3"
        assert contents(tmp_path / "out" / name) == contents(finished_words / name)
        said = (tmp_path / f"out/logs/{arm}/seed-3.log").read_text().splitlines()
        assert said[-1].startswith("gen 01  evaluate")
        # Each stage is told as the log has it, with the run's name before it, and in its order.
        title = f"{arm}, seed 3"
        assert [line for line in stages if line.startswith(title)] == [
            f"{title}  {line}" for line in said
        ]


def test_a_worker_takes_job_after_job_and_ends_with_the_process_that_started_it(
    words_plan: dict[str, Any], tmp_path: Path
):
    run = parse_study(words_plan, "", Path()).runs()[0]
    recipe = {**run.recipe.dump(), "generations": 999}
    job = {"study": str(tmp_path), "name": run.name, "recipe": recipe, "cpu_threads": 1}
    caught = {**job, "name": "bad/seed-3", "recipe": {**recipe, "corpus": {"source": "none.txt"}}}
    worker = subprocess.Popen(
        [sys.executable, "-m", "textmad.studies.engines.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(tm.__file__).parents[1],
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    for one in (caught, caught, job):
        worker.stdin.write(json.dumps(one).encode() + b"\n")
    worker.stdin.flush()
    answers = [json.loads(worker.stdout.readline()) for _ in range(2)]
    assert [answer["kind"] for answer in answers] == ["CorpusError", "CorpusError"]
    worker.stdin.close()  # as the kernel does when that process is killed
    assert worker.wait(timeout=60) == 143


# --- Slurm ----------------------------------------------------------------------------------


def test_the_tasks_of_the_script_compute_what_the_study_does_and_it_sums_them_up(
    plan: dict[str, Any],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("textmad.studies.engines.slurm.threads_each", lambda jobs: 1)
    path, out = tmp_path / "study.yaml", tmp_path / "a study"
    path.write_text(
        yaml.safe_dump({**plan, "recipe": plan["recipe"].dump(), "controls": {"human": "none"}})
    )
    command = ["study", str(path), "--out", str(out)]
    cli.app([*command, "--emit", "slurm"], standalone_mode=False)
    script = capsys.readouterr().out
    assert script.startswith("#!/bin/bash\n")
    assert {"#SBATCH --array=0-1", "#SBATCH --cpus-per-task=1"} <= set(script.splitlines())
    assert f"#SBATCH --output='{out}/logs/slurm-%A_%a.log'" in script.splitlines()
    tasks = [
        subprocess.Popen(
            ["bash", "-c", script],
            env={**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "1"},
            cwd="/",  # the script goes where the study was begun
        )
        for task in range(2)
    ]
    assert [task.wait(timeout=120) for task in tasks] == [0, 0]
    records = store.stage_records(out)
    computed = [record.key for record in records if record.source is None]
    assert len(set(computed)) == len(computed) < len(records)  # one waited for the other
    cli.app(command, standalone_mode=False)
    assert store.stage_records(out) == records
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row[2:] == ["finished"]] == [
        [arm, "3", "finished"]
        for arm in ("picky", "plain")  # as the file has them
    ]
    for arm in ("plain", "picky"):
        assert contents(out / f"runs/{arm}/seed-3") == contents(finished / f"runs/{arm}/seed-3")


def test_a_script_has_the_runs_that_are_not_finished(plan: dict[str, Any], copied: Path):
    with pytest.raises(tm.RunError, match="all runs are finished: leave out --emit to sum them up"):
        emit_slurm(parse_study(plan, "", Path()), copied)
    shutil.rmtree(copied / "runs/picky/seed-3/gen-01/evaluate")
    script, runs = emit_slurm(parse_study(plan, "", Path()), copied)
    assert [state.run.name for state in runs] == ["picky/seed-3"]
    assert "\nruns=(\n  picky/seed-3\n)\n" in script
    assert "#SBATCH --array=0-0\n" in script


def test_a_task_with_other_threads_or_without_a_run_is_an_error(
    finished: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    with pytest.raises(tm.RunError) as caught:
        recorded_job(finished, "plain/seed-3")
    assert str(caught.value) == (
        f"{finished}: SLURM_CPUS_PER_TASK: 4: the study was begun with 1 CPU threads a run: set "
        "#SBATCH --cpus-per-task=1, or delete its runs and emit it again under OMP_NUM_THREADS=4"
    )
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    with pytest.raises(tm.RunError, match="has no run plain/seed-4: emit the script again"):
        recorded_job(finished, "plain/seed-4")


def test_a_script_has_no_jobs_and_no_engine(tmp_path: Path):
    with pytest.raises(tm.RecipeError, match="--jobs 2: a script has a task for each run"):
        cli.app(
            ["study", "none.yaml", "--out", str(tmp_path), "--jobs", "2", "--emit", "slurm"],
            standalone_mode=False,
        )
    for option in (["--engine", "ray"], ["--address", "auto"]):
        with pytest.raises(tm.RecipeError, match=f"{' '.join(option)}: a script has a task"):
            cli.app(
                ["study", "none.yaml", "--out", str(tmp_path), *option, "--emit", "slurm"],
                standalone_mode=False,
            )


# --- Ray ------------------------------------------------------------------------------------


def test_ray_has_an_address_no_jobs_and_its_package(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(tm.RecipeError, match="address: auto: is for Ray: add engine ray"):
        tm.study(plan, tmp_path, address="auto")
    with pytest.raises(tm.RecipeError, match="engine: dask: expected local or ray"):
        tm.study(plan, tmp_path, engine="dask")
    with pytest.raises(tm.RecipeError, match="jobs: 2: Ray runs as many as it has room for"):
        tm.study(plan, tmp_path, engine="ray", jobs=2)
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(tm.RunError, match=r"engine ray: .*pip install 'textmad\[ray\]'"):
        tm.study(plan, tmp_path, engine="ray")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # Ray's start and its processes' imports take half a minute of two cores
def test_ray_shares_stages_and_tells_how_each_run_ended(
    plan: dict[str, Any], finished: Path, tmp_path: Path, write_filters: Callable[[str], str]
):
    ray = pytest.importorskip("ray")
    module = write_filters("failing_on_ray")
    bad = {"gone": {"curate": [f"{module}:stops"]}, "bad": {"curate": [f"{module}:judge"]}}
    arms = {"plain": {}, **bad, "picky": PICKY}
    out, told = tmp_path / "out", list[str]()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(tm.TextmadError) as failed:
        tm.study({**plan, "arms": arms, "controls": False}, out, engine="ray", tell=told.append)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not ray.is_initialized()
    assert {"done: plain, seed 3", "done: picky, seed 3"} < set(told)
    message = str(failed.value)
    assert message.startswith("2 of 4 runs failed; the same command tries them again\n")
    assert f"bad/seed-3: filter {module}:judge, generation 1: raised ValueError" in message
    assert "gone/seed-3: WorkerCrashedError: " in message
    assert f"what it said is in {out}/logs/gone/seed-3.log" in message
    records = store.stage_records(out)
    computed = [record.key for record in records if record.source is None]
    assert len(set(computed)) == len(computed) < len(records)
    for arm in ("plain", "picky"):
        assert contents(out / f"runs/{arm}/seed-3") == contents(finished / f"runs/{arm}/seed-3")
        said = (out / f"logs/{arm}/seed-3.log").read_text().splitlines()
        assert said[-1].startswith("gen 01  evaluate")


@pytest.mark.slow  # as above
def test_a_study_stopped_on_a_ray_cluster_goes_on_there(
    plan: dict[str, Any], finished: Path, tmp_path: Path
):
    ray = pytest.importorskip("ray")
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    settings = {**plan, "recipe": plan["recipe"].dump(), "controls": {"human": "fresh"}}
    path.write_text(yaml.safe_dump(settings))
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        address = ray.get_runtime_context().gcs_address
        command = [sys.executable, "-m", "textmad", "study", str(path), "--out", str(out)]
        command += ["--engine", "ray", "--address", address]
        begun = subprocess.Popen(command, cwd=Path(tm.__file__).parents[1])
        while not (out / "runs/plain/seed-3/gen-00/model").exists():
            assert begun.poll() is None
            time.sleep(0.05)
        begun.send_signal(signal.SIGTERM)
        assert begun.wait(timeout=60) == 143
        assert not (out / "runs/human-only").exists()  # nothing that waited has begun
        tm.study(settings, out, engine="ray")  # this process is connected
        with pytest.raises(tm.RunError, match=f"{address}: this process is connected to Ray"):
            tm.study(settings, out, engine="ray", address=address)
    finally:
        ray.shutdown()
    for arm in ("plain", "picky", "human-only"):
        assert contents(out / f"runs/{arm}/seed-3") == contents(finished / f"runs/{arm}/seed-3")


def test_an_address_where_nothing_listens_is_an_error_at_once(plan: dict[str, Any], tmp_path: Path):
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, so that nobody else gets it, and not listening
        taken.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*taken.getsockname())
        with pytest.raises(tm.RunError, match=f"address: {address}: no Ray there: .*refused"):
            tm.study(plan, tmp_path / "out", engine="ray", address=address)
    assert not (tmp_path / "out/runs").exists()


def test_what_a_node_lacks_is_told_before_it_computes(finished: Path, tmp_path: Path):
    origins = {"code": "0ther", "versions": store.versions()}
    here = Path.cwd()
    with pytest.raises(tm.RunError, match=r"has no .*/nowhere: all nodes need the same folders"):
        check_node(tmp_path / "nowhere", finished, origins)
    with pytest.raises(tm.RunError, match=f"has no {tmp_path}/study.yaml: all nodes need"):
        check_node(here, tmp_path, origins)
    with pytest.raises(tm.RunError, match=r"has other code or libraries .*\n  code: 0ther there"):
        check_node(here, finished, origins)
