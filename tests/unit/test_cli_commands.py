"""The commands around a run: init, recipes, show, schema; the log, and what terminals are told."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from functools import cache
from io import BytesIO, TextIOWrapper
from pathlib import Path

import jsonschema
import pytest
import yaml

import textmad as tm
from tests.random_words import write_words
from textmad import cli
from textmad.cli import starters
from textmad.cli.init import Loop, Question
from textmad.cli.terminal import harmless, speaking
from textmad.recipe.json_schema import json_schema
from textmad.shipped import question, shipped_recipes
from textmad.studies import is_study, load_study
from textmad.studies.settings import StudySettings
from textmad.version import __version__

COMBINATIONS = [(loop, asked) for loop in Loop for asked in Question]
# Two generations of 200 words drawn from a hundred, in a second.
TINY = {
    "generations": 1,
    "corpus": {"source": "words.jsonl", "held_out": 0.2},
    "model": {"base": "categorical", "categories": 100, "smoothing": 0.5},
    "mix": {"model_tokens": 2_000},
    "sample": {"oversample": 1.2, "min_tokens": 2_000},
    "evaluate": ["perplexity", "diversity"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, a study of two arms, and both run."""
    folder = tmp_path_factory.mktemp("commands")
    write_words(folder / "words.jsonl")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    study = {
        "recipe": "tiny.yaml",
        "seeds": [0],
        "arms": {"a": {}, "b": {"sample.temperature": 0.9}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study | {"controls": False}))
    told = {"PYTHONIOENCODING": "ascii", "PYTHONPROFILEIMPORTTIME": "1"}
    done = process("run", "tiny.yaml", "--out", "run", cwd=folder, **told)
    assert done.returncode == 0, done.stderr
    (folder / "imports.txt").write_text(done.stderr)
    with chdir(folder):
        tm.study(load_study("study.yaml"), "study")
    return folder


@pytest.fixture
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the current directory."""
    monkeypatch.chdir(folder)
    return folder


def process(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a process of its own says; the fixture `textmad` calls the program in this one."""
    return subprocess.run(
        [sys.executable, "-m", "textmad", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(tm.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


# --- init, recipes, schema ------------------------------------------------------------------


@cache
def schema_of(settings: type) -> jsonschema.protocols.Validator:
    """The schema of recipes or of studies, made once."""
    return jsonschema.Draft202012Validator(json_schema(settings))


@pytest.fixture(scope="module")
def written_once() -> Iterator[None]:
    """`starters.files` with the text of each schema made once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(starters, "schema_text", cache(starters.schema_text))
        yield


@pytest.mark.parametrize(("loop", "asked"), COMBINATIONS)
def test_what_init_writes_is_a_recipe_a_study_and_a_filter_that_are_accepted(
    loop, asked, tmp_path, monkeypatch, written_once
):
    for name, text in starters.files(loop, asked).items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_filters", raising=False)
    recipe = tm.load_recipe("recipe.yaml")
    study = load_study("study.yaml")
    assert {"replace": 0}.get(loop, 4000) == recipe.mix.human_tokens
    assert any(arm.control == "human" for arm in study.arms) or study.search is not None
    # What stands in comments is accepted too.
    lines = (tmp_path / "recipe.yaml").read_text().splitlines()
    used = "\n".join(re.sub(r"^# (curate|  - )", r"\1", line) for line in lines)
    (tmp_path / "used.yaml").write_text(used)
    assert len(tm.load_recipe("used.yaml", {"sample.oversample": 9}).curate) == 2


def test_the_filter_that_init_writes_keeps_the_contract(tmp_path):
    (tmp_path / "my_filters.py").write_text(starters.files("replace", "filter")["my_filters.py"])
    done = subprocess.run(
        [sys.executable, "my_filters.py"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(tm.__file__).parents[1])}, timeout=120,
    )  # fmt: skip
    assert done.stdout == "VariedWords keeps the contract of a filter\n", done.stderr


def test_init_writes_into_a_new_folder_and_over_nothing(textmad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    first = textmad("init", "~/lab", "--loop", "fresh")
    assert first.code == 0, first.err
    assert {path.name for path in (tmp_path / "lab").iterdir()} == set(
        starters.files("fresh", "selection")
    )
    again = textmad("init", "lab")
    assert again.code == 73
    assert "exists already: expected a new or empty folder" in again.err
    assert "human: fresh" in (tmp_path / "lab" / "recipe.yaml").read_text()


def test_every_shipped_recipe_has_a_question_and_is_listed(textmad):
    listed = textmad("recipes").out
    for name, path in shipped_recipes().items():
        asked = question(path)
        assert asked.endswith("?"), path
        assert f"{name}\n    {asked}\n    {path}\n" in listed


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_fits_the_schema(name):
    path = shipped_recipes()[name]
    settings = StudySettings if is_study(path) else tm.Recipe
    schema_of(settings).validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sed": 1},
        {"seed": -1},
        {"mix": {"human": "new"}},
        {"curate": [{"upvotes": {"voter": 3}}]},
        {"curate": [{"upvotes": {}, "random": {}}]},
        {"evaluate": "perplexity"},
    ],
)
def test_the_schema_rejects_what_the_recipe_rejects(wrong):
    with pytest.raises(tm.RecipeError):
        tm.Recipe(**wrong)
    with pytest.raises(jsonschema.ValidationError):
        schema_of(tm.Recipe).validate(wrong)


@pytest.mark.parametrize("settings", [tm.Recipe, StudySettings])
def test_a_schema_is_one_of_its_dialect(settings):
    jsonschema.Draft202012Validator.check_schema(json_schema(settings))


def test_schema_prints_the_schema_of_recipes_and_studies(textmad):
    assert json.loads(textmad("schema").out) == json_schema(tm.Recipe)
    study = json.loads(textmad("schema", "study").out)
    assert {"recipe", "seeds", "arms", "axes"} <= set(study["properties"])


# --- show, report, compare ------------------------------------------------------------------


def test_show_tells_the_state_the_table_and_the_files_of_a_run(textmad, in_folder):
    shown = textmad("show", "run").out
    assert "state        finished\n" in shown
    assert "generations  2 of 2 complete, seed 0\n" in shown
    assert "| Perplexity | held-out |" in shown
    assert "model        run/gen-01/model\n" in shown
    for line in ("recipe       run/recipe.yaml", "report       run/report.html", "run/log.txt"):
        assert line in shown


def test_show_tells_how_far_the_runs_of_a_study_are(textmad, in_folder):
    shown = textmad("show", "study").out
    assert "runs         2 finished of 2 begun, of 2 planned\n" in shown
    assert "a/seed-0  2 of 2  finished\n" in shown
    assert "b/seed-0  2 of 2  finished\n" in shown


def test_a_report_of_a_study_shows_a_run_of_each_arm(textmad, in_folder):
    done = textmad("report", "study")
    assert done.out.splitlines()[-1] == "report: study/report.html"
    assert done.out.count("| metric | text |") == 2
    assert "study/runs/b/seed-0\n" in done.out


def test_compare_prints_the_verdict_before_the_tables_and_briefly_without_them(textmad, in_folder):
    arms = ("compare", "study", "--control", "b", "--metric", "distinct_2/drawn")
    whole, brief = (textmad(*arms, *extra) for extra in ((), ("--brief",)))
    assert whole.code == brief.code == 0, whole.err
    assert "| metric |" in whole.out
    assert "| metric |" not in brief.out
    assert whole.out.startswith(brief.out.rstrip("\n"))


# --- what is said ---------------------------------------------------------------------------


def test_version_and_short_help(textmad, tmp_path):
    of_a_process = process("--version", cwd=tmp_path)
    assert (of_a_process.returncode, of_a_process.stdout) == (0, f"textmad {__version__}\n")
    assert textmad("run", "-h").out.startswith("Usage: ")


def test_the_log_has_all_that_was_said_and_grows_with_each_call(textmad, in_folder):
    folder = in_folder
    log = (folder / "run" / "log.txt").read_text(encoding="utf-8")
    assert "textmad run tiny.yaml --out run\n" in log
    assert len(re.findall(r"^gen 01  evaluate", log, re.MULTILINE)) == 1
    assert "| Perplexity | held-out | ↓ |" in log
    assert "report: run/report.html\n" in log
    wrong = textmad("run", "tiny.yaml", "--out", "run", "--set", "seed=5")
    assert wrong.code == 2
    grown = (folder / "run" / "log.txt").read_text(encoding="utf-8")
    assert grown.startswith(log)
    assert "seed: 0 there, 5 now" in grown[len(log) :]


def test_a_log_that_is_a_link_is_not_written_through(textmad, in_folder, tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.yaml").write_text(tm.load_recipe("tiny.yaml").to_yaml())
    (out / "corpus").mkdir()
    (out / "log.txt").symlink_to(target)
    textmad("run", "tiny.yaml", "--out", out)
    assert target.read_text() == "mine"


def test_quiet_says_nothing_but_results_and_errors(textmad, in_folder, tmp_path):
    done = textmad("run", "tiny.yaml", "--out", tmp_path / "run", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    assert "gen 01  evaluate" in (tmp_path / "run" / "log.txt").read_text()


def test_verbose_adds_the_traceback_of_an_error(textmad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = textmad("plan", "none.yaml", "-v")
    assert done.code == 2
    assert "Traceback (most recent call last):" in done.err
    assert done.err.splitlines()[-1].startswith("textmad: none.yaml: cannot be read")


def test_a_terminal_without_our_letters_is_told_all_the_same(folder):
    done = process("report", "run", cwd=folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "| Perplexity | held-out | ? |" in done.stdout


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_letters_that_an_encoding_lacks_are_replaced(in_folder, monkeypatch, encoding):
    told = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(told, encoding))
    with speaking():
        cli.app(["report", "run"], standalone_mode=False)
        sys.stdout.flush()
    assert "| Perplexity | held-out | ? |" in told.getvalue().decode(encoding)


def test_an_audit_is_written_before_it_is_printed(folder, tmp_path, monkeypatch):
    from textmad import auditing
    from textmad.report import audit_page

    written = []
    monkeypatch.setattr(auditing, "audit", lambda *_, **__: "findings")
    monkeypatch.setattr(audit_page, "write_audit", lambda *_: written.append("files") or [])
    monkeypatch.setattr(audit_page, "print_audit", lambda *_: written.append("printed"))
    cli.app(["audit", "a", "--reference", "b", "--out", str(tmp_path)], standalone_mode=False)
    assert written == ["files", "printed"]


def test_what_would_steer_a_terminal_is_escaped_and_colours_are_not():
    assert harmless("a\x1b[2J\x9b\r\u202e") == "a\\x1b[2J\\x9b\\r\\u202e"
    assert harmless("\x1b[1mbold\x1b[0m\tand\n") == "\x1b[1mbold\x1b[0m\tand\n"


def test_names_of_a_foreign_folder_do_not_reach_the_terminal_raw(textmad):
    done = textmad("show", "no\x1b]0;title\x07such")
    assert done.code == 73
    assert "\x1b" not in done.err + done.out
    assert "no\\x1b]0;title\\x07such" in done.err


@pytest.mark.parametrize("rank", ["1", "worker-0"])
def test_a_rank_of_somebody_else_silences_nothing(textmad, in_folder, monkeypatch, rank):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", rank)
    done = textmad("report", "run")
    assert done.code == 0
    assert "report: run/report.html" in done.out


def test_a_rank_that_is_no_number_is_an_error_among_several_processes(
    textmad, in_folder, monkeypatch
):
    monkeypatch.setenv("RANK", "one")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = textmad("run", "tiny.yaml", "--out", "x")
    assert done.code == 2
    assert done.err.startswith("textmad: RANK=one: expected a number")


def test_a_run_without_a_network_loads_neither_transformers_nor_peft(folder):
    imported = re.findall(r"^import time: .*\| +(\S+)$", (folder / "imports.txt").read_text(), re.M)
    assert {"textmad.loop.recursion", "torch"} <= set(imported)
    assert not {"transformers", "peft", "sklearn"} & set(imported)


def test_a_missing_corpus_is_told_before_torch_is_loaded(tmp_path):
    (tmp_path / "recipe.yaml").write_text("corpus: {source: none.jsonl}\n")
    code = (
        "import sys; from textmad.cli import main\n"
        "sys.argv = ['textmad', 'run', 'recipe.yaml', '--out', 'run']\n"
        "try:\n    main()\n"
        "except SystemExit as left:\n    print(left.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(tm.__file__).parents[1])},
    )  # fmt: skip
    assert done.stdout == "3 False\n", done.stderr
