"""Fixtures that several kinds of tests share."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import textmad as tm
from tests import command_line

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A second thread has nothing to do in models this small, and on a busy machine waits by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")


ROOT = Path(__file__).resolve().parents[1]


def _module(name: str) -> ModuleType:
    """A module beside the tests: they are imported from no path."""
    path = ROOT / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have counted; the workers of pytest-xdist can print nothing themselves."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    for report in reports:
        if getattr(report, "when", None) == "call":
            for name, counts in report.user_properties:
                if name == "counts":
                    terminalreporter.write_line(counts)


@pytest.fixture
def textmad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., command_line.Answer]]:
    """Call the program's `main` with these arguments, in this process."""
    yield from command_line.in_this_process(monkeypatch, capsys)


@pytest.fixture(scope="session")
def tiny_models() -> ModuleType:
    """The builders: gpt2(), llama(), byte_tokenizer(), save(model, folder)."""
    return _module("tiny_models")


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory, tiny_models: ModuleType) -> Path:
    """A GPT-2 of 2 layers x 32 with 64 positions and a byte-level tokenizer."""
    return tiny_models.save(tiny_models.gpt2(), tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory, tiny_models: ModuleType) -> Path:
    """A Llama of the same size, with grouped keys and rotary positions."""
    return tiny_models.save(tiny_models.llama(), tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def record() -> ModuleType:
    """What records the golden trajectory, and makes it again."""
    return _module("golden/record")


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """`python(folder, *arguments, processes=1)`: Python there, with this checkout's textmad.

    Gives what it printed. With more `processes` than one, torch's launcher starts them.
    """

    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def run(folder: Path, *arguments: str, processes: int = 1) -> str:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        answer = subprocess.run(
            [sys.executable, *(launcher if processes > 1 else []), *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return run


@pytest.fixture(scope="session")
def measured_runs() -> ModuleType:
    """write(folder, recipe, values): run folders that hold metrics alone."""
    return _module("measured_runs")


# --- the whole loop -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tiny_language() -> ModuleType:
    """The tests' own human language: rows(), write_corpus(), save_trained_gpt2()."""
    return _module("tiny_language")


@pytest.fixture(scope="session")
def trained_gpt2_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_language: ModuleType
) -> Path:
    """A GPT-2 of 2 layers x 32 that knows another dialect than `human_corpus`."""
    return tiny_language.save_trained_gpt2(tmp_path_factory.mktemp("trained-gpt2"))


@pytest.fixture(scope="session")
def human_corpus(tmp_path_factory: pytest.TempPathFactory, tiny_language: ModuleType) -> Path:
    """JSONL with text, conversation and votes: 1,200 documents of about 40 tokens."""
    return tiny_language.write_corpus(tmp_path_factory.mktemp("human") / "human.jsonl")


@pytest.fixture(scope="session")
def tiny_recipe(trained_gpt2_folder: Path, human_corpus: Path) -> tm.Recipe:
    """Pure replacement for four generations: each adapts the base model anew, to 3,000 tokens."""
    return tm.Recipe(
        generations=4,
        corpus={
            "source": str(human_corpus),
            "columns": {"votes": "votes", "conversation": "conversation"},
        },
        model={"base": str(trained_gpt2_folder), "lora": {"rank": 8, "alpha": 16}},
        train={"epochs": 4, "batch_tokens": 512, "learning_rate": 2e-2},
        mix={"model_tokens": 3000},
        sample={"min_tokens": 3000, "max_new_tokens": 60},
    )


@pytest.fixture(scope="session")
def short_recipe(tiny_recipe: tm.Recipe) -> tm.Recipe:
    """The same with 600 tokens, two generations and one evaluator: for what needs many runs."""
    return tiny_recipe.replace(
        generations=2,
        train={"epochs": 1},
        mix={"model_tokens": 600},
        sample={"min_tokens": 600},
        evaluate=[{"perplexity": {"held_out_tokens": 1000}}],
    )


class Finished(NamedTuple):
    """A run, and the processor time that it took."""

    run: tm.Run
    cpu_seconds: float


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: tm.Recipe) -> Finished:
    """`tiny_recipe` run to its end; only to be read."""
    begun = time.process_time()
    run = tm.run(tiny_recipe, tmp_path_factory.mktemp("runs") / "finished")
    return Finished(run, time.process_time() - begun)


@pytest.fixture(scope="session")
def finished_run(finished: Finished) -> tm.Run:
    """`tiny_recipe` run to its end; only to be read."""
    return finished.run
