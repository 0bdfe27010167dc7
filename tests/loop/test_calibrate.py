"""`textmad calibrate`: loops of known outcome agree, planted faults are found out."""

from dataclasses import replace

import pytest

from textmad import calibration, cli
from textmad.calibration import populations, refits, theory, votes
from textmad.models.toy.gaussian import Gaussian

COUNTS = refits.counts_refitted(chains=400, draws=100, generation=1)
NUMBERS = refits.numbers_refitted(bias=0.8, chains=1600, draws=20, generation=2)


@pytest.fixture
def textmad(monkeypatch, capsys):
    """`textmad calibrate` of some loops in this process: exit code and what it printed."""

    def call(loops, *arguments):
        monkeypatch.setattr(calibration, "every_loop", lambda: loops)
        command = ["calibrate", "--jobs", "1", *map(str, arguments)]
        code = cli.app(command, standalone_mode=False)
        return code, capsys.readouterr().out

    return call


def verdicts(out):
    return [line.split("|")[-2].strip() for line in out.splitlines() if line.startswith("| A")]


def test_the_exit_code_says_whether_the_loops_agree_with_theory(textmad, monkeypatch, tmp_path):
    code, out = textmad([COUNTS, NUMBERS], "--out", tmp_path / "runs")
    assert code == 0, out
    assert set(verdicts(out)) == {"agrees"}
    assert (tmp_path / "runs/seeds-1/runs").is_dir()

    # The same runs against another theory: a round more than there was.
    right = theory.variance
    monkeypatch.setattr(theory, "variance", lambda bias, generation: right(bias, generation + 1))
    code, out = textmad([COUNTS, NUMBERS], "--out", tmp_path / "runs")
    assert code == 1
    assert "1 of 5 do not agree with theory: A2" in out


def test_the_variance_divided_by_n_and_not_by_n_less_1_is_found_out(textmad, monkeypatch):
    learn = Gaussian.learn

    def slipped(self, values):
        learned = learn(self, values)
        return {**learned, "variance": learned["variance"] * (1 - 1 / len(values))}

    monkeypatch.setattr(Gaussian, "learn", slipped)
    code, out = textmad([NUMBERS])  # in a folder that is gone afterwards
    assert code == 1
    assert verdicts(out) == ["DIFFERS"]


def changed(loop, path, value):
    """The loop with another recipe than theory is about."""
    return replace(loop, name=f"{loop.name} {path}", settings={**loop.settings, path: value})


SHARPER = {"author": {**votes.author(4)["author"], "noise": 0.7}}
REPLACED = refits.replaced(chains=1000, draws=10, generation=3)
DILUTED = {"human_tokens": REPLACED.human.tokens(3), "model_tokens": REPLACED.human.tokens(7)}
REFRESHED = refits.refreshed(bias=0.7, model=10, chains=1000, generation=3)


def test_a_loop_that_is_slightly_another_is_found_out(tmp_path):
    faults = {
        "A2": changed(NUMBERS, "sample.temperature", 0.85),
        "A3": changed(votes.chosen(votes.author, 4, kept=3000), "curate", [SHARPER]),
        "A5": changed(REPLACED, "mix", DILUTED),
        "A6": changed(REFRESHED, "mix.human", "fixed"),
    }
    checks = calibration.calibrate(tmp_path / "runs", list(faults.values()))
    assert {check.claim for check in checks if check.verdict == "DIFFERS"} == set(faults)


ISLANDS = populations.islands(0.5, human=4, members=2, draws=8, chains=1500, generation=1)


def test_members_that_read_each_other_drift_apart_as_theory_says(tmp_path):
    checks = calibration.calibrate(tmp_path / "runs", [ISLANDS])
    assert {check.verdict for check in checks} == {"agrees"}, calibration.table(checks)
    read, *agreement = checks
    assert (read.theory, read.measured.value) == (4, 4)
    within, between = agreement[-2:]
    assert within.theory > between.theory + 10 * within.measured.standard_error


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [("population.migration", 0.25, "documents of others"), ("sample.temperature", 0.8, "sum of")],
)
def test_members_that_read_or_write_otherwise_are_found_out(tmp_path, path, value, what):
    checks = calibration.calibrate(tmp_path / "runs", [changed(ISLANDS, path, value)])
    wrong = [check.what for check in checks if check.verdict == "DIFFERS"]
    assert wrong
    assert all(each.startswith(what) for each in wrong)


def test_members_that_share_their_random_numbers_are_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr("textmad.recipe.settings.member_seed", lambda seed, member: seed)
    checks = calibration.calibrate(tmp_path / "runs", [ISLANDS])
    wrong = [check.what for check in checks if check.verdict == "DIFFERS"]
    assert "sum of p q between, t = 1" in wrong


@pytest.mark.slow
def test_every_loop_agrees_with_theory(tmp_path):
    checks = calibration.calibrate(tmp_path / "runs", jobs=2)
    assert {check.claim for check in checks} == {f"A{number}" for number in range(1, 8)}
    assert {check.verdict for check in checks} == {"agrees"}, calibration.table(checks)
