"""A run that waits for people: votes through the real page, resumed, replayed, forgotten."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import textmad as tm
from tests.command_line import Answer
from tests.people_runs import check_replay, settings_of_words, write_words
from tests.simulated_raters import vote_through_page
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """Two generations of a distribution over words, which costs nothing; people vote in each."""
    people = {"keep": 0.5, "ballot": {"raters_per_text": 2, "leave_out_random": True}}
    path = tmp_path / "recipe.yaml"
    path.write_text(
        json.dumps(settings_of_words(write_words(tmp_path), curate=[{"people": people}]))
    )
    return path


def likes_long(texts: list[str], choices: list[str]) -> str:
    """The answer of a simulated rater to the texts on the screen."""
    return "1" if sum(map(ord, texts[0])) % 3 else "0"


def vote_on_real_page(run: Path, num_raters: int = 2) -> None:
    """Serve the page as `textmad rate` does, and have raters vote until nothing is left."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "textmad", "rate", str(run)),
            *("--invite", str(num_raters), "--serve", "--port", "0"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )
    assert server.stdout is not None
    try:
        for link in [server.stdout.readline().strip() for _ in range(num_raters)]:
            url, _, token = link.partition("/join/")
            vote_through_page(url, token, likes_long)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130


def test_a_run_waits_for_votes_goes_on_and_comes_out_the_same_from_replayed_votes(
    textmad: Callable[..., Answer], recipe_file: Path, tmp_path: Path
):
    out = tmp_path / "run"
    command = ("run", recipe_file, "--out", out)
    waiting = textmad(*command)
    assert waiting.code == 7
    (line,) = [line for line in waiting.err.splitlines() if "waits for" in line]
    assert f"vote with `textmad rate {out}`, then run the same command again" in line
    assert textmad(*command).code == 7  # asked again, it waits on
    shown = textmad("votes", out)
    assert shown.code == 0
    assert "generation 0" in shown.out
    assert "open" in shown.out

    vote_on_real_page(out)
    assert textmad(*command).code == 7  # generation 0 is there, generation 1 waits
    assert tm.Run(out).generations == [0]
    vote_on_real_page(out)
    assert textmad(*command).code == 0
    run = tm.Run(out)
    assert run.complete
    for generation in (0, 1):
        candidates = run.candidates(generation)
        assert sum(candidates["kept"][:]) == round(0.5 * len(candidates))
        assert set(candidates["exposure"][:]) == {2}
        (facts,) = run.records(generation).values()
        assert set(candidates["votes_digest"][:]) == {facts["digest"]}
        texts = {row["text"] for row in run.held_out}
        assert texts.isdisjoint(text_of_ballots(out))  # held-out text is shown to nobody

    # The same votes in another folder give the same generations, to the byte.
    check_replay(textmad, recipe_file, out, tmp_path, num_ballots=2)

    # What was frozen stays, whatever becomes of the file of votes.
    (out / VOTES).unlink()
    assert textmad(*command).code == 0


def text_of_ballots(out: Path) -> set[str]:
    with Ballots(out / VOTES)._database.read() as db:
        return {row[0] for row in db.execute("SELECT text FROM texts")}


def test_run_serve_goes_on_by_itself_when_there_are_enough_votes(recipe_file: Path, tmp_path: Path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "textmad", "run", str(recipe_file), "--out", str(out)),
            *("--serve", "--port", "0", "--set", "generations=0"),
            *("--set", 'curate=[{"people": {"keep": 0.5, "ballot": {"raters_per_text": 1}}}]'),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdout is not None
    url, _, token = process.stdout.readline().strip().partition("/join/")
    assert url.startswith("http://127.0.0.1:")
    assert vote_through_page(url, token, likes_long) > 0
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    table = pq.read_table(out / "gen-00/curate/candidates.parquet")
    assert set(table["exposure"].to_pylist()) == {1}


# --- texts without a run, and the commands --------------------------------------------------


@pytest.fixture
def texts_file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"a text {i}"}) + "\n" for i in range(4)))
    return path


def test_any_texts_are_laid_out_voted_on_exported_imported_and_forgotten(
    textmad: Callable[..., Answer], texts_file: Path, tmp_path: Path
):
    out = tmp_path / "votes"
    links = textmad("rate", texts_file, "--out", out, "--invite", 2)
    assert links.code == 0
    assert len(links.out.split()) == 2
    assert all(x.startswith("http://127.0.0.1:8765/join/") for x in links.out.split())
    vote_on_real_page(out, num_raters=2)
    shown = textmad("votes", out).out
    assert "8 of 12 needed; open" in shown
    assert "alpha      1.00" in shown  # both simulated raters have the same taste
    assert "seconds a vote (median)" in shown
    labels = tmp_path / "labels.csv"
    assert (
        textmad("votes", out, "--labels", labels).out == f"labels: of 4 items written to {labels}\n"
    )
    assert labels.read_text().startswith("ballot,item,documents,value,probability\n")
    for name in ("votes.csv", "votes.jsonl"):
        exported = tmp_path / name
        assert "8 written" in textmad("votes", out, "--export", exported).out
        assert textmad("votes", out, "--forget", "r003").out == "r003: 4 votes deleted\n"
        assert "4 of 12" in textmad("votes", out).out
        assert "4 new ones added" in textmad("votes", out, "--import", exported).out
        assert "8 of 12" in textmad("votes", out).out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("rate", "TEXTS"), 2, "is a file of texts: give --out DIR"),
        (("rate", "DIR"), 73, "no texts are laid out for people there"),
        (("rate", "DIR", "--question", "Good?"), 2, "--question: has no effect"),
        (("rate", "TEXTS", "--out", "OUT", "--host", "0.0.0.0"), 2, "give --public-url"),
        (("rate", "TEXTS", "--out", "OUT", "--public-url", "votes"), 2, "expected http://HOST"),
        (("rate", "TEXTS", "--out", "OUT", "--question", " "), 2, "--question: ' '"),
        (("rate", "DIR/held_out.parquet", "--out", "OUT"), 2, "held-out text is only measured on"),
        (("rate", "DIR/none.jsonl", "--out", "OUT"), 3, "none.jsonl"),
        (("votes", "DIR"), 73, "no texts are laid out for people there"),
        (("votes", "DIR", "--export", "a.csv", "--forget", "r001"), 2, "give one of them"),
        (("votes", "DIR", "--tool", "argilla"), 2, "--tool argilla: has no effect without"),
        (("run", "TEXTS", "--out", "OUT", "--port", 1), 2, "--port 1: has no effect without"),
    ],
)
def test_what_cannot_be_rated_is_rejected_with_its_remedy(
    textmad: Callable[..., Answer], texts_file: Path, tmp_path: Path, arguments, code, message
):
    places = {"TEXTS": texts_file, "OUT": tmp_path / "out"}
    given = [places.get(word, str(word).replace("DIR", str(tmp_path))) for word in arguments]
    answer = textmad(*given)
    assert (answer.code, message in answer.err) == (code, True), answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("votes.txt", "", "expected a name that ends in .jsonl or .csv"),
        ("votes.jsonl", "{}\n", "line 1: is no vote"),
        ("votes.jsonl", "[]\n", "line 1: is no vote"),
        ("votes.csv", "ballot,item\nx,1\n", "line 2: is no vote"),
        ("none.jsonl", None, "cannot be read"),
    ],
)
def test_a_bad_file_of_votes_is_rejected_with_its_line(
    textmad: Callable[..., Answer], texts_file: Path, tmp_path: Path, name, text, message
):
    assert textmad("rate", texts_file, "--out", tmp_path / "out", "--invite", 1).code == 0
    if text is not None:
        (tmp_path / name).write_text(text)
    answer = textmad("votes", tmp_path / "out", "--import", tmp_path / name)
    assert (answer.code, message in answer.err) == (73, True), answer.err
