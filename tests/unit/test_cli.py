"""The command line: exit codes, one clear error on stderr, and nothing half-written."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import textmad as tm
from tests.command_line import Answer
from tests.people_runs import settings_of_words, write_words
from textmad import calibration, cli, store
from textmad.calibration import refits, votes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2_folder: Path) -> Path:
    """Generations 0 and 1 of 200 tokens each, on 60 documents."""
    folder = tmp_path_factory.mktemp("recipe")
    lines = [{"text": f"the {i} cats sat on the {i % 7} mats by the road"} for i in range(60)]
    corpus = folder / "human.jsonl"
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "generations": 1,
        "corpus": {"source": str(corpus)},
        "model": {"base": str(tiny_gpt2_folder), "lora": {"rank": 2}},
        "mix": {"model_tokens": 200},
        "sample": {"min_tokens": 200, "max_new_tokens": 30},
        "evaluate": ["perplexity"],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def run_folder(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; only to be read."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    tm.run(tm.load_recipe(recipe_file), out)
    return out


def records(folder: Path) -> set[str]:
    """What stands in a run folder, the lock aside."""
    return {path.name for path in folder.iterdir()} - {".lock"} if folder.exists() else set()


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "textmad", *map(str, arguments)]


# --- 0: done --------------------------------------------------------------------------------


def test_a_run_ends_with_the_table_and_the_reports_path_on_stdout(textmad, recipe_file, tmp_path):
    out = tmp_path / "run"
    answer = textmad("run", recipe_file, "--out", out, "--set", "seed=3", "--set", "train.warmup=0")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("| metric | text |  | gen 0 | gen 1 | change | base | human |\n")
    assert "\n| Perplexity | held-out | ↓ | " in answer.out
    assert answer.out.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    # Progress goes to stderr, a line a stage: the corpus, the base model's text, and five in each
    # of two generations.
    assert len(answer.err.splitlines()) == 2 + 2 * 5
    # What was set is in the recipe that was run, and is recorded.
    run = tm.Run(out)
    assert (run.recipe.seed, run.recipe.train.warmup) == (3, 0)
    assert run.provenance["sessions"][-1]["overrides"] == {"seed": 3, "train.warmup": 0}


def test_the_same_command_again_computes_nothing_and_reports_again(
    textmad, recipe_file, run_folder
):
    before = (run_folder / "metrics.parquet").read_bytes()
    answer = textmad("run", recipe_file, "--out", run_folder)
    assert (answer.code, answer.err) == (0, "")
    assert (run_folder / "metrics.parquet").read_bytes() == before


def test_plan_prints_what_a_run_will_take(textmad, recipe_file):
    answer = textmad("plan", recipe_file, "--set", "generations=3")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("generations    0 to 3, 22 stages\n")


def test_plan_of_a_study_has_a_line_an_arm_and_takes_set(textmad, recipe_file, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(f"recipe: {recipe_file}\nseeds: [0, 1]\n")
    answer = textmad("plan", path)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert [line[:10].strip() for line in lines[:2]] == ["base", "human only"]
    assert lines[2] == "runs   2 arms x 2 seeds = 4, 48 stages"  # 2 + 2 x 5 a run
    small = textmad("plan", path, "--set", "seeds=[0]", "--set", "recipe.generations=0")
    assert small.out.splitlines()[2] == "runs   2 arms x 1 seed = 2, 14 stages"
    message = "generations: is no setting of a study; its base recipe's is recipe.generations"
    wrong = textmad("plan", path, "--set", "generations=3")
    assert wrong == Answer(2, "", f"textmad: {message}\n")


def test_report_takes_several_runs_and_a_place(textmad, run_folder, recipe_file, tmp_path):
    other = tmp_path / "other"
    tm.run(tm.load_recipe(recipe_file, {"seed": 1}), other)
    page = tmp_path / "page.html"
    answer = textmad("report", run_folder, other, "--out", page)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == f"report: {page}"
    # A table each, under the run's name.
    names = [line for line in answer.out.splitlines() if line in (str(run_folder), str(other))]
    assert names == [str(run_folder), str(other)]
    assert answer.out.count("| metric | text |") == 2
    assert all(f">{name}<" in page.read_text() for name in ("finished", "other"))


# --- 2: the recipe is refused ---------------------------------------------------------------


def test_an_invalid_recipe_is_2_with_all_faults_and_nothing_written(textmad, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: -1\ntrian: {}\n")
    for command in (["plan", path], ["run", path, "--out", tmp_path / "run"]):
        assert textmad(*command) == Answer(
            2,
            "",
            f"textmad: {path}: 2 problems\n  seed: -1: expected at least 0\n"
            "  trian: unknown setting; did you mean train?\n",
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["sed=1"], "{recipe}: 1 problem\n  sed: unknown setting; did you mean seed?"),
        (["seed=-1"], "{recipe}: 1 problem\n  seed: -1: expected at least 0"),
        (["seed"], "--set seed: expected PATH=VALUE, as in train.learning_rate=2e-4"),
        (["seed=1", "seed=2"], "--set seed=2: seed is set twice; delete one"),
    ],
)
def test_a_bad_override_is_2(textmad, recipe_file, tmp_path, assignments, message):
    options = [word for assignment in assignments for word in ("--set", assignment)]
    answer = textmad("run", recipe_file, "--out", tmp_path / "run", *options)
    assert answer == Answer(2, "", f"textmad: {message.format(recipe=recipe_file)}\n")


def test_another_recipe_for_a_run_is_2_and_names_what_differs(textmad, recipe_file, run_folder):
    answer = textmad("run", recipe_file, "--out", run_folder, "--set", "seed=5")
    assert answer == Answer(
        2,
        "",
        f"textmad: {run_folder}: was begun with another recipe: use another --out, or delete the "
        "run\n  seed: 0 there, 5 now\n",
    )


@pytest.mark.parametrize("arguments", [["run"], ["run", "recipe.yaml"], ["walk"], ["report"]])
def test_a_wrong_command_line_is_2(textmad, arguments):
    answer = textmad(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: ")


def test_a_bad_recipe_is_an_error_before_torch_is_loaded(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("curate: [{upvotes: {voters: 0}}]\n")
    code = (
        "import sys; from textmad.cli import main\n"
        f"sys.argv = ['textmad', 'run', {str(path)!r}, '--out', {str(tmp_path / 'run')!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as left:\n    print(left.code, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr) == (
        "2 False\n",
        f"textmad: {path}: 1 problem\n"
        "  curate.0.upvotes.voters: 0: expected at least 1, or people\n",
    )


# --- 3, 4: data or model refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "code", "message"),
    [
        ("corpus.source=no/such.jsonl", 3, "no/such.jsonl"),
        ("mix.model_tokens=9e6", 3, "the recipe needs 9,000,000 up to generation 1"),
        ("corpus.min_words=100", 3, "0 documents to train on and 0 held out"),
        (
            "model.base=no/such folder",
            4,
            "model.base: no/such folder: expected tiny-gpt2, a folder",
        ),
        ("model.lora.targets=[w_q]", 4, "w_q"),
        ("sample.max_new_tokens=64", 4, "sample.max_new_tokens: 64: start token"),
    ],
)
def test_unusable_data_is_3_and_an_unusable_model_4_and_no_records_stay(
    textmad, recipe_file, tmp_path, assignment, code, message
):
    out = tmp_path / "run"
    answer = textmad("run", recipe_file, "--out", out, "--set", assignment)
    assert (answer.code, answer.out) == (code, "")
    errors = [line for line in answer.err.splitlines() if line.startswith("textmad: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in answer.err
    if "targets" not in assignment:  # targets are looked for when training begins
        assert records(out) == set()


def test_after_a_refusal_a_mended_recipe_may_use_the_folder(textmad, recipe_file, tmp_path):
    out = tmp_path / "run"
    caught = textmad("run", recipe_file, "--out", out, "--set", "corpus.min_words=100")
    assert caught.code == 3
    assert textmad("run", recipe_file, "--out", out).code == 0


# --- 73, 75: the run folder -----------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_73(textmad, recipe_file, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = textmad("run", recipe_file, "--out", tmp_path / "file" / "run")
    assert (answer.code, answer.out) == (73, "")
    assert answer.err.startswith(f"textmad: {tmp_path / 'file' / 'run'}: cannot be written: ")
    assert answer.err.count("\n") == 1


def test_a_report_of_what_is_no_run_is_73(textmad, tmp_path, run_folder):
    missing = tmp_path / "missing"
    before = (run_folder / "report.html").exists()
    for folders in ([missing], [run_folder, missing]):
        assert textmad("report", *folders) == Answer(
            73,
            "",
            f"textmad: {missing}: is no run folder, it holds no recipe.yaml: expected what "
            "`textmad run RECIPE --out DIR` writes\n",
        )
    assert (run_folder / "report.html").exists() == before


def test_a_report_of_a_run_without_a_generation_is_73_and_prints_no_table(
    textmad, tmp_path, run_folder
):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "recipe.yaml").write_text(tm.Recipe().to_yaml())
    answer = textmad("report", run_folder, begun, "--out", tmp_path / "page.html")
    assert (answer.code, answer.out) == (73, "")
    assert answer.err.startswith(f"textmad: {begun}: has nothing to report: ")
    assert not (tmp_path / "page.html").exists()


def test_a_folder_in_use_is_75(textmad, recipe_file, tmp_path):
    out = tmp_path / "run"
    with store.begin(out, tm.load_recipe(recipe_file)):
        answer = textmad("run", recipe_file, "--out", out)
    assert (answer.code, answer.out) == (75, "")
    assert answer.err.startswith(f"textmad: {out}: is being written by process {os.getpid()} on ")


def test_another_number_of_processes_than_asked_for_is_2(textmad, recipe_file, tmp_path):
    answer = textmad("run", recipe_file, "--out", tmp_path / "run", "--processes", 2)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("textmad: --processes 2: this run has 1: ")


# --- 130, 143: interrupted ------------------------------------------------------------------


def test_a_process_beside_the_first_gives_it_time_to_speak_and_then_says_who_it_is(
    textmad, tmp_path, monkeypatch, capsys
):
    slept = []

    def sleep(seconds):  # torchrun's SIGTERM would end the process here, without a word
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert capsys.readouterr().err == ""
        slept.append(seconds)

    monkeypatch.setattr(cli.time, "sleep", sleep)
    for rank, said, waited in (("0", "textmad: ", []), ("1", "textmad: process 1: ", [5.0])):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        answer = textmad("plan", tmp_path / "none.yaml")
        assert answer.code == 2
        assert answer.err.startswith(f"{said}{tmp_path / 'none.yaml'}: ")
        assert slept == waited


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_gives_the_folder_back_and_resumes(
    textmad, recipe_file, run_folder, tmp_path, monkeypatch, number, code
):
    from textmad.models.causal_lm.model import CausalLM

    out, sample = tmp_path / "run", CausalLM.sample

    def interrupt(*given, **options):
        if not (out / "base").exists():  # the base model's own text comes first
            return sample(*given, **options)
        return os.kill(os.getpid(), number)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(CausalLM, "sample", interrupt)
        answer = textmad("run", recipe_file, "--out", out)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.splitlines()[-1] == (
        "textmad: interrupted; the same command resumes from here"
    )
    # What was committed stays, and nothing that was not whole.
    assert {path.name for path in (out / "gen-00").iterdir()} == {"mix", "model"}
    assert textmad("run", recipe_file, "--out", out).code == 0
    there, whole = ((path / "metrics.parquet").read_bytes() for path in (out, run_folder))
    assert there == whole


def test_ctrl_c_ends_the_program_with_130(tmp_path):
    recipe = tmp_path / "recipe.yaml"  # without a network, which would take seconds to load
    settings = settings_of_words(write_words(tmp_path, 200), generations=9999)
    recipe.write_text(yaml.safe_dump(settings))
    process = subprocess.Popen(
        program("run", recipe, "--out", tmp_path / "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("corpus")  # the run has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "textmad: interrupted; the same command resumes from here"
    assert "Traceback" not in err


def test_a_stop_that_a_destructor_swallows_is_asked_again():
    code = """
import os, signal, time
from textmad import cli

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # the handler runs here

def app():
    Deaf()
    time.sleep(60)

cli.app = app
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30
    )
    assert done.returncode == 143
    assert done.stderr == "textmad: interrupted; the same command starts again\n"


@pytest.mark.parametrize(
    ("options", "then"), [([], "starts again"), (["--out", "DIR"], "resumes from here")]
)
def test_who_is_interrupted_hears_whether_the_command_goes_on(
    textmad, monkeypatch, tmp_path, options, then
):
    from textmad import calibration

    def stopped(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(calibration, "calibrate", stopped)
    monkeypatch.chdir(tmp_path)
    answer = textmad("calibrate", *options)
    assert (answer.code, answer.err) == (130, f"textmad: interrupted; the same command {then}\n")


# --- quick ----------------------------------------------------------------------------------


def test_help_takes_under_half_a_second_of_computing():
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(program("--help"), capture_output=True, text=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
        assert all(command in done.stdout for command in ("plan", "run", "report"))
    assert min(seconds) < 0.5


def test_importing_textmad_loads_none_of_the_heavy_libraries():
    heavy = ("torch", "transformers", "datasets", "pandas", "pyarrow", "matplotlib", "pydantic")
    code = f"import sys, textmad; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr


# --- compare --------------------------------------------------------------------------------


@pytest.fixture
def arms(tmp_path: Path, measured_runs) -> list[Path]:
    """A run of human text alone and one of model text, measured at two generations."""
    model = tm.Recipe(generations=1, mix={"model_tokens": 20_000})
    human = model.replace(mix={"model_tokens": 0, "human_tokens": 20_000})
    values = {("perplexity", "held_out"): [70.0, 80.0], ("mattr", "drawn"): [0.5, 0.5]}
    return [
        measured_runs.write(tmp_path / name, recipe, values)
        for name, recipe in (("human", human), ("model", model))
    ]


def test_compare_prints_the_tables_and_the_verdict_and_writes_where_it_is_told(
    textmad, arms, tmp_path
):
    answer = textmad("compare", *arms, "--metric", "mattr", "--out", tmp_path / "found")
    assert answer.code == 0
    assert "| MATTR, drawn | human_tokens=0 | ≈ | 0.500 |" in answer.out
    assert "One seed supports nothing." in answer.out
    assert "Perplexity" not in answer.out
    written = [line for line in answer.out.splitlines() if line.startswith("comparison: ")]
    assert {Path(line[12:]) for line in written} == set((tmp_path / "found").iterdir())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--metric", "mtld"), "metric: mtld: was measured in no run"),
        (("--control", "nope"), "control: nope: is no arm"),
        (("--tolerance", "0"), "tolerance: 0.0: expected a share above 0"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_73_and_writes_nothing(
    textmad, arms, tmp_path, option, message
):
    answer = textmad("compare", *arms, *option, "--out", tmp_path / "found")
    assert (answer.code, answer.out) == (73, "")
    assert answer.err.startswith(f"textmad: {message}")
    assert not (tmp_path / "found").exists()


# --- audit ----------------------------------------------------------------------------------


@pytest.fixture
def posts(tmp_path: Path) -> tuple[Path, Path]:
    """80 human documents, and 20 others of which every second is the same."""
    human, other = tmp_path / "human.jsonl", tmp_path / "other.jsonl"
    texts = [f"the {i} cats sat on the {i % 7} mats by the road" for i in range(100)]
    texts[80:] = [text if i % 2 else texts[0] for i, text in enumerate(texts[80:])]
    for path, some in ((human, texts[:80]), (other, texts[80:])):
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    return other, human


def test_audit_prints_the_tables_and_the_verdict_and_writes_where_it_is_told(
    textmad, posts, tmp_path
):
    other, human = posts
    out = tmp_path / "found"
    answer = textmad("audit", other, "--reference", human, "--min-documents=20", "--out", out)
    assert answer.code == 0, answer.err
    assert f"| {human} | reference |" in answer.out
    assert f"| {other} |  |  | 20 | 9 | 45.0% |" in answer.out
    assert "| Rare-word rate | share | " in answer.out
    assert "figures lie outside the range of human text. Furthest out: " in answer.out
    written = [line[7:] for line in answer.out.splitlines() if line.startswith("audit: ")]
    assert {Path(line) for line in written} == set(out.iterdir())


def test_a_corpus_that_is_too_small_is_3_an_option_without_effect_2_and_nothing_is_written(
    textmad, posts, tmp_path
):
    other, human = posts
    out = tmp_path / "found"
    small = textmad("audit", other, "--reference", human, "--out", out)
    assert (small.code, small.out) == (3, "")
    assert small.err.startswith(f"textmad: {human}: 80 documents; at least 800 are needed")
    options = ("--min-documents=20", "--group=x", "--out", out)
    assert textmad("audit", "chitchat", "--reference", human, *options).code == 2
    assert not out.exists()


def test_audit_reads_the_reference_and_spares_bad_lines_as_told(textmad, posts, tmp_path):
    _, human = posts
    dump = tmp_path / "dump.json"
    lines = [f"the {i} dogs lay by the {i % 3} doors" for i in range(20)]
    dump.write_text("".join(json.dumps({"body": line}) + "\n" for line in lines) + "{\n")
    of_texts = ("--text-column=body", "--format=jsonl", "--max-bad-lines=0.1")
    of_human = ("--reference", human, "--reference-text-column=text", "--reference-format=auto")
    answer = textmad("audit", dump, *of_texts, *of_human, "--min-documents=20")
    assert answer.code == 0, answer.err
    assert f"{dump}: left out 1 lines that cannot be read." in answer.out
    none = textmad("audit", dump, *of_texts, *of_human, "--max-words=0")
    assert (none.code, none.err) == (3, "textmad: --max-words: 0: expected at least 1\n")


# --- calibrate ------------------------------------------------------------------------------


def test_a_calibration_is_a_table_in_a_terminal_and_markdown_elsewhere(
    textmad, tmp_path, monkeypatch
):
    check = calibration.Check("A1", "counts", "words left", 89.4, calibration.Measured(89.1, 0.3))
    monkeypatch.setattr(calibration, "calibrate", lambda *_, **__: [check])
    monkeypatch.setenv("COLUMNS", "100")
    elsewhere = textmad("calibrate", "--out", tmp_path)
    assert elsewhere.out.startswith("| claim | loop   | what       | theory |")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    terminal = textmad("calibrate", "--out", tmp_path)
    assert "|" not in terminal.out
    for cell in ("claim", "words left", "89.4", "agrees"):
        assert cell in terminal.out


def test_calibration_counts_the_runs_of_all_its_studies(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(
        calibration.studies, "study", lambda plan, out, jobs, tell: tell("run 1 of 2") or {}
    )
    loops = [refits.counts_refitted(), votes.curated(votes.crowd, 0.1, 100, 2, seeds=3)]
    loops = [replace(loop, measure=lambda runs: []) for loop in loops]
    with pytest.raises(KeyError):  # of the runs that nobody made
        calibration.calibrate(tmp_path, loops, tell=told.append)
    assert told == [
        "2 loops, 4 runs, in 2 studies",
        "study 1 of 2, run 1 of 2",
        "study 2 of 2, run 1 of 2",
    ]


@pytest.mark.parametrize("out", ["file", "/proc/nothing"])
def test_a_calibration_that_cannot_be_written_is_73_since_1_is_a_loop_that_differs(
    textmad, tmp_path, monkeypatch, out
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    answer = textmad("calibrate", "--out", out)
    assert (answer.code, answer.out) == (73, "")
    assert answer.err.startswith(f"textmad: {out}/human: cannot be written: ")
    assert answer.err.count("\n") == 1
