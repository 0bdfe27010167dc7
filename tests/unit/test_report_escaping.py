"""Names of other people in every place that textmad writes: no HTML, link, formula or control."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import textmad as tm
from textmad import calibration
from textmad.analysis.populations import Inbreeding
from textmad.calibration.checks import Check, Measured
from textmad.cli.terminal import speaking
from textmad.models.base_files import BaseReference
from textmad.models.causal_lm import saving
from textmad.rating.exchange import read_votes_file, write_votes
from textmad.rating.records import Vote
from textmad.report import Table, to_markdown
from textmad.report.audit_page import write_audit
from textmad.report.comparison.inbreeding import inbreeding_figure, inbreeding_table
from textmad.statistics.explained_variance import explained_variance
from textmad.studies.folder import RunState, summary

NAMES = (
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1+1",
    "'=1+1",
    "<img src=x onerror=alert(1)>",
    "\\<script>alert(1)</script>",
    "![x](https://example.org/y.png)",
    "a\x1b[2Jb\u202ec",
    "<!-- a\nb -->",
)
Written = list[tuple[str, str]]  # the form, and the text


def files(paths: list[Path]) -> Written:
    texts = [path for path in paths if path.suffix != ".parquet"]
    return [(path.suffix, path.read_bytes().decode()) for path in texts]


def of_report(folder: Path, measured_runs) -> Written:
    return [(".md", to_markdown(Table(NAMES, (NAMES,), NAMES)))]


def of_comparison(folder: Path, measured_runs) -> Written:
    recipe = tm.Recipe(generations=1, mix={"model_tokens": 20_000})
    human = recipe.replace(mix={"model_tokens": 0, "human_tokens": 20_000})
    # What cannot be printed, a figure draws as a box, and matplotlib warns of it.
    values = {(name, "held_out"): [90.0, 95.0] for name in NAMES if name.isprintable()}
    runs = [
        measured_runs.write(folder / f"{arm}-{seed}", made.replace(seed=seed), values)
        for arm, made in (
            ("human", human),
            ("pure", recipe.replace(model={"base": "<img src=x>"})),
            ("other", recipe.replace(model={"base": "=1+1"})),
        )
        for seed in (0, 1)
    ]
    return files(tm.write_comparison(tm.compare(runs, tolerance=0.1), folder / "comparison"))


def of_inbreeding(folder: Path, measured_runs) -> Written:
    arms = [name for name in NAMES if name.isprintable()]
    columns = {"arm": arms * 2, "seed": [0] * len(arms) + [1] * len(arms)}
    numbers = np.arange(2.0 * len(arms))
    rows = pd.DataFrame(columns).assign(generation=numbers, inbreeding=numbers, change=numbers)
    found = explained_variance(numbers, numbers, numbers, columns["seed"], columns["arm"])
    comparison = SimpleNamespace(inbreeding=(Inbreeding("distinct_2", found, rows),))
    figure = inbreeding_figure(comparison)
    assert all(name in "".join(ElementTree.fromstring(figure.svg).itertext()) for name in arms)
    return [(".html", figure.svg), (".md", to_markdown(inbreeding_table(comparison)))]


def of_audit(folder: Path, measured_runs) -> Written:
    texts = [f"w{n % 7} w{n % 11} w{n % 13} w{n % 3}" for n in range(400)]
    rows = [{"text": text, "board": NAMES[n % len(NAMES)]} for n, text in enumerate(texts)]
    source, human = folder / "<img src=x>.jsonl", folder / "=human.jsonl"
    for path in (source, human):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = tm.audit([source], human, group="board", documents=40, min_documents=20)
    return files(write_audit(found, folder / "audit"))


def of_votes(folder: Path, measured_runs) -> Written:
    votes = [
        Vote(
            ballot=name,
            item=number,
            documents=("a", "b"),
            gold=None,
            rater=name.strip(),
            showing=0,
            value=1,
            screen_position=0,
            seconds=1.0,
            cast_at=2.0,
        )
        for number, name in enumerate(NAMES)
    ]
    path = folder / "votes.csv"
    write_votes(path, votes)
    assert read_votes_file(path) == votes  # what stands before a formula does not stay
    return files([path])


def of_card(folder: Path, measured_runs) -> Written:
    network = SimpleNamespace(dtype="torch.float32", num_parameters=lambda: 1)
    cards = [saving._card(network, BaseReference(name, None, False), "") for name in NAMES]
    return [(".md", re.sub(r"`[^`\n]*`|^base_model: .*$", "", card, flags=re.M)) for card in cards]


def of_study(folder: Path, measured_runs) -> Written:
    recipe = tm.Recipe()
    planned = [SimpleNamespace(arm=name, seed=0, recipe=recipe) for name in NAMES]
    runs = [RunState(run, "failed", 0, 1.0, run.arm) for run in planned]
    return [("terminal", printed(summary(runs, folder)))]


def of_calibration(folder: Path, measured_runs) -> Written:
    checks = [Check(name, name, name, 1.0, Measured(1.1, 0.1)) for name in NAMES]
    return [("terminal", printed(calibration.table(checks) + calibration.summary(checks)))]


def printed(text: str) -> str:
    """What `print` writes where the program prints its results."""
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        with speaking():
            print(text)
    return stream.getvalue()


@pytest.mark.parametrize(
    "sink",
    [
        of_report,
        of_comparison,
        of_inbreeding,
        of_audit,
        of_votes,
        of_card,
        of_study,
        of_calibration,
    ],
)
def test_a_name_is_nothing_but_text_wherever_it_is_written(
    sink: Callable[..., Written], tmp_path: Path, measured_runs
):
    written = sink(tmp_path, measured_runs)
    assert written
    for form, text in written:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text) or form != ".md"
        if form == ".md":
            plain = re.sub(r"\\[\\<(]", "", text)  # what is escaped
            assert not re.search(r"<[A-Za-z/!?]|\]\(", plain)
        elif form == ".csv":
            for cell in (cell for row in csv.reader(io.StringIO(text)) for cell in row):
                assert not re.match(r"[=+@\t\r]|-(?![\d.]|inf)", cell)
        elif form == "terminal":
            assert not re.search(r"[\x1b\x9b\u202e]", text)
        elif form == ".html":
            assert not re.search(r"<(img src=x|script>alert)", text)
