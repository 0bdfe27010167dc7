"""The commands around a run: init, recipes, show, schema; the log, and what terminals are told."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

import textmad as tm
from textmad.cli import starters
from textmad.cli.init import Loop, Question
from textmad.cli.terminal import harmless
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
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(100)}" for _ in range(20)) for _ in range(600)]
    (folder / "words.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    study = {
        "recipe": "tiny.yaml",
        "seeds": [0],
        "arms": {"a": {}, "b": {"sample.temperature": 0.9}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study | {"controls": False}))
    done = textmad("run", "tiny.yaml", "--out", "run", cwd=folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    done = textmad("study", "study.yaml", "--out", "study", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def textmad(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "textmad", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(tm.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


# --- init, recipes, schema ------------------------------------------------------------------


@pytest.mark.parametrize(("loop", "asked"), COMBINATIONS)
def test_what_init_writes_is_a_recipe_a_study_and_a_filter_that_are_accepted(
    loop, asked, tmp_path, monkeypatch
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


def test_init_writes_into_a_new_folder_and_over_nothing(tmp_path):
    first = textmad("init", "~/lab", "--loop", "fresh", cwd=tmp_path, HOME=str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert {path.name for path in (tmp_path / "lab").iterdir()} == set(
        starters.files("fresh", "selection")
    )
    again = textmad("init", "lab", cwd=tmp_path)
    assert again.returncode == 73
    assert "exists already: expected a new or empty folder" in again.stderr
    assert "human: fresh" in (tmp_path / "lab" / "recipe.yaml").read_text()


def test_every_shipped_recipe_has_a_question_and_is_listed(tmp_path):
    listed = textmad("recipes", cwd=tmp_path).stdout
    for name, path in shipped_recipes().items():
        asked = question(path)
        assert asked.endswith("?"), path
        assert f"{name}\n    {asked}\n    {path}\n" in listed


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_fits_the_schema(name):
    path = shipped_recipes()[name]
    settings = StudySettings if is_study(path) else tm.Recipe
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema(settings))


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
        jsonschema.validate(wrong, json_schema(tm.Recipe))


def test_schema_prints_the_schema_of_recipes_and_studies(tmp_path):
    assert json.loads(textmad("schema", cwd=tmp_path).stdout) == json_schema(tm.Recipe)
    study = json.loads(textmad("schema", "study", cwd=tmp_path).stdout)
    assert {"recipe", "seeds", "arms", "axes"} <= set(study["properties"])


# --- show, report, compare ------------------------------------------------------------------


def test_show_tells_the_state_the_table_and_the_files_of_a_run(folder):
    shown = textmad("show", "run", cwd=folder).stdout
    assert "state        finished\n" in shown
    assert "generations  2 of 2 complete, seed 0\n" in shown
    assert "| Perplexity | held-out |" in shown
    assert "model        run/gen-01/model\n" in shown
    for line in ("recipe       run/recipe.yaml", "report       run/report.html", "run/log.txt"):
        assert line in shown


def test_show_tells_how_far_the_runs_of_a_study_are(folder):
    shown = textmad("show", "study", cwd=folder).stdout
    assert "runs         2 finished of 2 begun, of 2 planned\n" in shown
    assert "a/seed-0  2 of 2  finished\n" in shown
    assert "b/seed-0  2 of 2  finished\n" in shown


def test_a_report_of_a_study_shows_a_run_of_each_arm(folder):
    done = textmad("report", "study", cwd=folder)
    assert done.stdout.splitlines()[-1] == "report: study/report.html"
    assert done.stdout.count("| metric | text |") == 2
    assert "study/runs/b/seed-0\n" in done.stdout


def test_compare_prints_the_verdict_before_the_tables_and_briefly_without_them(folder):
    arms = ("compare", "study", "--control", "b", "--metric", "distinct_2/drawn")
    whole, brief = (textmad(*arms, *extra, cwd=folder) for extra in ((), ("--brief",)))
    assert whole.returncode == brief.returncode == 0, whole.stderr
    assert "| metric |" in whole.stdout
    assert "| metric |" not in brief.stdout
    assert whole.stdout.startswith(brief.stdout.rstrip("\n"))


# --- what is said ---------------------------------------------------------------------------


def test_version_and_short_help(tmp_path):
    assert textmad("--version", cwd=tmp_path).stdout == f"textmad {__version__}\n"
    assert textmad("run", "-h", cwd=tmp_path).stdout.startswith("Usage: ")


def test_the_log_has_all_that_was_said_and_grows_with_each_call(folder):
    log = (folder / "run" / "log.txt").read_text(encoding="utf-8")
    assert "textmad run tiny.yaml --out run\n" in log
    assert len(re.findall(r"^gen 01  evaluate", log, re.MULTILINE)) == 1
    assert "| Perplexity | held-out | ↓ |" in log
    assert "report: run/report.html\n" in log
    wrong = textmad("run", "tiny.yaml", "--out", "run", "--set", "seed=5", cwd=folder)
    assert wrong.returncode == 2
    grown = (folder / "run" / "log.txt").read_text(encoding="utf-8")
    assert grown.startswith(log)
    assert "seed: 0 there, 5 now" in grown[len(log) :]


def test_a_log_that_is_a_link_is_not_written_through(folder, tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.yaml").write_text(tm.load_recipe(folder / "tiny.yaml").to_yaml())
    (out / "corpus").mkdir()
    (out / "log.txt").symlink_to(target)
    textmad("run", folder / "tiny.yaml", "--out", out, cwd=folder)
    assert target.read_text() == "mine"


def test_quiet_says_nothing_but_results_and_errors(folder, tmp_path):
    done = textmad("run", "tiny.yaml", "--out", tmp_path / "run", "-q", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    assert "gen 01  evaluate" in (tmp_path / "run" / "log.txt").read_text()


def test_verbose_adds_the_traceback_of_an_error(tmp_path):
    done = textmad("plan", "none.yaml", "-v", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback (most recent call last):" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("textmad: none.yaml: cannot be read")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_our_letters_is_told_all_the_same(folder, encoding):
    done = textmad("report", "run", cwd=folder, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "| Perplexity | held-out |" in done.stdout


def test_an_audit_is_written_before_it_is_printed(folder, tmp_path, monkeypatch):
    from textmad import auditing, cli
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


def test_names_of_a_foreign_folder_do_not_reach_the_terminal_raw(folder, tmp_path):
    done = textmad("show", "no\x1b]0;title\x07such", cwd=tmp_path)
    assert done.returncode == 73
    assert "\x1b" not in done.stderr + done.stdout
    assert "no\\x1b]0;title\\x07such" in done.stderr


@pytest.mark.parametrize("rank", ["1", "worker-0"])
def test_a_rank_of_somebody_else_silences_nothing(folder, rank):
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    done = subprocess.run(
        [sys.executable, "-m", "textmad", "report", "run"],
        cwd=folder, capture_output=True, text=True, timeout=120,
        env={**environment, "RANK": rank, "PYTHONPATH": str(Path(tm.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0
    assert "report: run/report.html" in done.stdout


def test_a_rank_that_is_no_number_is_an_error_among_several_processes(folder):
    done = textmad("run", "tiny.yaml", "--out", "x", cwd=folder, RANK="one", WORLD_SIZE="2")
    assert done.returncode == 2
    assert done.stderr.startswith("textmad: RANK=one: expected a number")


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
