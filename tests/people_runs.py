"""Small runs in which people vote, on a distribution over words, which costs nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.command_line import Answer
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES


def write_words(folder: Path, num_texts: int = 60) -> Path:
    """Write human text of seven words each, all different, and return the file."""
    corpus = folder / "human.jsonl"
    lines = [{"text": f"w{i % 7} w{i % 5} w{i % 11} w{i} w1 w2 w3"} for i in range(num_texts)]
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return corpus


def settings_of_words(corpus: Path, **settings: Any) -> dict[str, Any]:
    """The settings of a recipe for a corpus of words; `settings` replace them."""
    return {
        "generations": 1,
        "corpus": {"source": str(corpus), "min_words": 1, "near_duplicate": 1.0},
        "model": {"base": "categorical"},
        "mix": {"model_tokens": 60},
        "sample": {"min_tokens": 60, "oversample": 4.0},
        "evaluate": ["diversity"],
        **settings,
    }


def check_replay(
    textmad: Callable[..., Answer], recipe: Path, run: Path, folder: Path, num_ballots: int
) -> None:
    """Import a run's votes into a run of the same recipe: its generations are the same bytes.

    It waits for votes `num_ballots` times, and then ends.
    """
    again, exported, part = (folder / name for name in ("again", "votes.jsonl", "part.jsonl"))
    assert textmad("votes", run, "--export", exported).code == 0
    lines = exported.read_text().splitlines(keepends=True)
    for _ in range(num_ballots):
        assert textmad("run", recipe, "--out", again).code == 7
        ballots = Ballots(again / VOTES)
        known = {state.ballot for state in ballots.states() if not state.digest}
        ballots.close()
        part.write_text("".join(line for line in lines if json.loads(line)["ballot"] in known))
        assert textmad("votes", again, "--import", part).code == 0
    assert textmad("run", recipe, "--out", again).code == 0
    first, second = files_of(run), files_of(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def files_of(run: Path) -> dict[str, bytes]:
    """What a run's stages consist of, but for the manifests, which name the folder's own inputs."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.glob("gen-*/*/*"))
        if path.is_file() and path.name != "manifest.json"
    }
