"""Filters and evaluators of a user's own: named, given, failing, mended and changed."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import textmad as tm


@dataclass(frozen=True)
class VariedWords:
    """Keep a document when at least `threshold` of its words are distinct."""

    threshold: float = 0.5

    def __call__(self, candidates, context):
        words = [text.split() for text in candidates["text"]]
        score = np.array([len(set(w)) / max(len(w), 1) for w in words])
        return tm.Verdicts(keep=score >= self.threshold, score=score, reason="repeats words")


def varied(text: str) -> float:
    return len(set(text.split())) / max(len(text.split()), 1)


@pytest.fixture
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(sample={"oversample": 2.0})


def test_a_filter_given_as_an_instance_judges_every_generation(recipe: tm.Recipe, tmp_path: Path):
    recipe = recipe.replace(
        curate=[tm.filters.Length(min_words=1, max_words=30), VariedWords(0.85)]
    )
    run = tm.run(recipe, tmp_path / "run")
    rejected = 0
    for generation in range(3):
        for row in run.candidates(generation):
            num_words = len(row["text"].split())
            if num_words > 30:
                assert (row["kept"], row["filter"]) == (False, "length")
                continue
            assert row["score"] == varied(row["text"])
            assert row["kept"] == (row["score"] >= 0.85)
            expected = ("", "") if row["kept"] else (f"{__name__}:VariedWords", "repeats words")
            assert (row["filter"], row["reason"]) == expected
            rejected += not row["kept"]
    assert rejected > 0
    assert all(varied(text) >= 0.85 for text in run.training(2)["text"])
    # The recipe in the folder names it with its setting, so the same filter is found again.
    assert tm.Run(run.path).recipe.filters()[1] == VariedWords(0.85)


# --- filters in a file of the user's --------------------------------------------------------

MODULE = "tests_own_filters"


@pytest.fixture
def write_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Writes the user's file, and makes Python read it anew as a new process would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> None:
        (tmp_path / f"{MODULE}.py").write_text(source)
        sys.modules.pop(MODULE, None)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop(MODULE, None)


# Divides by the number of words from generation 1 on, and there is always a text without any.
FAULTY = """
import numpy as np
import textmad as tm

def judge(candidates, context):
    words = [len(text.split()) for text in candidates["text"]]
    if context.generation == 1:
        words[3] //= 0
    return tm.Verdicts(keep=np.array(words) < 30, score=np.array(words, float), reason="long")
"""
MENDED = FAULTY.replace("words[3] //= 0", "words[3] //= 1")
STRICTER = MENDED.replace("< 30", "< 25")


def snapshot(folder: Path, *parts: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in parts
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


def test_a_filter_by_module_and_name_is_the_same_as_an_instance_of_it(
    recipe: tm.Recipe, tmp_path: Path, write_module: Callable[[str], None]
):
    write_module(
        "from dataclasses import dataclass\nimport numpy as np\nimport textmad as tm\n"
        "@dataclass(frozen=True)\nclass Short:\n    words: int = 25\n"
        "    def __call__(self, candidates, context):\n"
        "        n = np.array([len(text.split()) for text in candidates['text']])\n"
        "        return tm.Verdicts(keep=n <= self.words, score=-n, reason='long')\n"
    )
    named = recipe.replace(generations=0, curate=[{f"{MODULE}:Short": {"words": 20}}])
    given = recipe.replace(generations=0, curate=[importlib.import_module(MODULE).Short(words=20)])
    assert named == given
    run = tm.run(named, tmp_path / "run")
    assert 0 < len(run.kept(0)) < len(run.candidates(0))
    assert max(len(text.split()) for text in run.kept(0)["text"]) <= 20


def test_a_filter_that_raises_names_itself_and_its_mend_goes_on_where_it_stopped(
    recipe: tm.Recipe, tmp_path: Path, write_module: Callable[[str], None]
):
    write_module(FAULTY)
    recipe = recipe.replace(curate=[f"{MODULE}:judge"])
    with pytest.raises(tm.CurationError) as raised:
        tm.run(recipe, tmp_path / "run")
    assert str(raised.value).startswith(
        f"filter {MODULE}:judge, generation 1: raised ZeroDivisionError: "
    )
    assert tm.Run(tmp_path / "run").generations == [0]
    # The models are what costs: they stay, and so does what generation 1 has drawn.
    dear = ("gen-00/model", "gen-00/curate/candidates.parquet", "gen-01/model", "gen-01/sample")
    before = snapshot(tmp_path / "run", *dear)
    times = {name: (tmp_path / "run" / name).stat().st_mtime_ns for name in before}

    write_module(MENDED)
    run = tm.run(recipe, tmp_path / "run")
    assert run.complete
    assert snapshot(run.path, *dear) == before
    assert {name: (run.path / name).stat().st_mtime_ns for name in before} == times
    # It is as if the mended filter had been there from the beginning.
    anew = tm.run(recipe, tmp_path / "anew")
    parts = ["corpus", "metrics.parquet", *(f"gen-{g:02d}" for g in range(3))]
    assert snapshot(run.path, *parts) == snapshot(anew.path, *parts)
    codes = [session["own_code"][f"{MODULE}:judge"] for session in run.provenance["sessions"]]
    assert codes[0] != codes[1]


def test_a_filter_that_now_judges_otherwise_is_an_error_with_what_to_delete(
    recipe: tm.Recipe, tmp_path: Path, write_module: Callable[[str], None]
):
    write_module(FAULTY)
    recipe = recipe.replace(curate=[f"{MODULE}:judge"])
    with pytest.raises(tm.CurationError):
        tm.run(recipe, tmp_path / "run")
    before = snapshot(tmp_path / "run", "gen-00", "gen-01")
    write_module(STRICTER)
    with pytest.raises(tm.RunError) as caught:
        tm.run(recipe, tmp_path / "run")
    assert str(caught.value).startswith(f"{tmp_path}/run/gen-00/curate: does not come out as it")
    assert re.search(rf"own_code\.{MODULE}:judge: \w+ there, \w+ now", str(caught.value))
    assert snapshot(tmp_path / "run", "gen-00", "gen-01") == before
    write_module(MENDED)  # the old verdicts again, so the run goes on
    assert tm.run(recipe, tmp_path / "run").complete


def test_a_changed_evaluator_touches_neither_models_nor_verdicts(
    recipe: tm.Recipe, tmp_path: Path, write_module: Callable[[str], None]
):
    source = "def words(snapshot):\n    return {'num_words': snapshot.num_words}\n"
    write_module(source)
    recipe = recipe.replace(generations=1, evaluate=[f"{MODULE}:words"])
    run = tm.run(recipe, tmp_path / "run")
    before = snapshot(run.path, "gen-00", "gen-01")
    write_module(source + "# a remark\n")
    tm.run(recipe, tmp_path / "run")
    after = snapshot(run.path, "gen-00", "gen-01")
    # The same numbers: only the record of what they were made by is new.
    assert {name for name in after if after[name] != before[name]} == {
        f"gen-{generation:02d}/evaluate/manifest.json" for generation in (0, 1)
    }
    write_module(source.replace("snapshot.num_words", "-1"))
    with pytest.raises(tm.RunError, match="gen-00/evaluate: does not come out as it was"):
        tm.run(recipe, tmp_path / "run")


def test_an_evaluator_that_raises_names_itself_and_its_generation(
    recipe: tm.Recipe, tmp_path: Path, write_module: Callable[[str], None]
):
    write_module("def broken(snapshot):\n    return {'x': 1 / 0}\n")
    recipe = recipe.replace(generations=0, evaluate=[f"{MODULE}:broken"])
    message = f"evaluator {MODULE}:broken, generation 0: raised ZeroDivisionError"
    with pytest.raises(tm.EvaluationError, match=message):
        tm.run(recipe, tmp_path / "run")
