"""`textmad calibrate`: loops of known outcome agree, a planted fault is found out."""

import sys

import pytest

from textmad import calibration, cli
from textmad.calibration import refits, theory
from textmad.models.gaussian import Gaussian

COUNTS = refits.counts_refitted(chains=400, draws=100, generation=1)
NUMBERS = refits.numbers_refitted(bias=0.8, chains=1200, draws=20, generation=1)


@pytest.fixture
def textmad(monkeypatch, capsys):
    """`textmad calibrate` of some loops in this process: exit code and what it printed."""

    def call(loops, *arguments):
        monkeypatch.setattr(calibration, "every_loop", lambda: loops)
        monkeypatch.setattr(
            sys, "argv", ["textmad", "calibrate", "--jobs", "1", *map(str, arguments)]
        )
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, capsys.readouterr().out

    return call


def verdicts(out):
    rows = [line for line in out.splitlines() if line.startswith("| A")]
    return {tuple(row.split(" | ")[1:3]): row.split("|")[-2].strip() for row in rows}


def test_loops_agree_with_theory_and_wrong_theory_or_a_wrong_fit_does_not(
    textmad, monkeypatch, tmp_path
):
    code, out = textmad([COUNTS, NUMBERS], "--out", tmp_path / "runs")
    assert code == 0, out
    assert set(verdicts(out).values()) == {"agrees"}
    assert (tmp_path / "runs/seeds-1/runs").is_dir()

    # The same runs against another theory: a round more than there was.
    right = theory.variance
    monkeypatch.setattr(theory, "variance", lambda bias, generation: right(bias, generation + 1))
    code, out = textmad([COUNTS, NUMBERS], "--out", tmp_path / "runs")
    assert code == 1
    assert list(verdicts(out).values()).count("DIFFERS") == 1
    assert "1 of 4 do not agree with theory: A2" in out
    monkeypatch.setattr(theory, "variance", right)

    # The textbook's slip: the variance divided by n, not by n - 1.
    learn = Gaussian.learn

    def slipped(self, values):
        learned = learn(self, values)
        return {**learned, "variance": learned["variance"] * (1 - 1 / len(values))}

    monkeypatch.setattr(Gaussian, "learn", slipped)
    code, out = textmad([NUMBERS])  # anew, in a folder of its own
    assert code == 1
    assert "1 of 1 do not agree with theory: A2" in out


@pytest.mark.slow
def test_every_loop_agrees_with_theory(tmp_path):
    checks = calibration.calibrate(tmp_path / "runs", jobs=2)
    assert {check.claim for check in checks} == {"A1", "A2", "A3", "A4", "A5", "A6"}
    assert {check.verdict for check in checks} == {"agrees"}, calibration.table(checks)
