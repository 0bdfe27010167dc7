"""A study whose seeds have human text of their own."""

from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from textmad.report.comparison.differences import verdict_sentences


def posts(path: Path) -> Path:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 40, (240, 12))
    path.write_text("".join(" ".join(f"w{word}" for word in row) + "\n" for row in words))
    return path


def study_of(tmp_path: Path, parts: int) -> dict[str, list[tm.Run]]:
    """Two arms, two seeds, a categorical model; a document has 13 tokens."""
    corpus = {"source": str(posts(tmp_path / "posts.txt")), "parts": parts, "held_out": 0.2}
    recipe = {
        "generations": 1,
        "corpus": {**corpus, "near_duplicate": 1.0, "min_words": 1},
        "model": {"base": "categorical", "categories": 40, "smoothing": 1.0},
        "mix": {"model_tokens": 20 * 13},
        "sample": {"min_tokens": 100, "max_new_tokens": 13},
        "evaluate": ["perplexity"],
    }
    plan = {"recipe": recipe, "seeds": [0, 1], "controls": {"human": "fresh"}}
    return tm.study(plan, tmp_path / "study", jobs=1)


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[tm.Run]], Path]:
    folder = tmp_path_factory.mktemp("parts")
    return study_of(folder, 2), folder / "study"


def ids(run: tm.Run) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(run.human["id"]), frozenset(run.held_out["id"])


def test_seeds_share_no_human_text_and_the_arms_of_a_seed_share_all_of_it(parted):
    runs, _ = parted
    loop, control = runs.values()
    assert [ids(run) for run in loop] == [ids(run) for run in control]
    (pool_0, held_out_0), (pool_1, held_out_1) = map(ids, loop)
    assert not (pool_0 | held_out_0) & (pool_1 | held_out_1)
    assert len(pool_0 | held_out_0 | pool_1 | held_out_1) == 240
    for run in loop:
        assert set(run.training(0)["id"]) <= set(run.human["id"])


def test_the_corpus_of_a_seed_is_read_once_for_all_arms(parted):
    runs, _ = parted
    loop, control = runs.values()
    for one, other in zip(loop, control, strict=True):
        files = [run.path / "corpus" / "human.parquet" for run in (one, other)]
        assert files[0].samefile(files[1])  # the stage is shared: one file under two names
    assert not (loop[0].path / "corpus/human.parquet").samefile(
        loop[1].path / "corpus/human.parquet"
    )


def sentences(study: Path) -> str:
    comparison = tm.compare([study])
    return " ".join([*verdict_sentences(comparison), *comparison.notes])


def test_intervals_say_whether_they_hold_for_new_human_text(parted, tmp_path):
    _, folder = parted
    own = sentences(folder)
    assert "new seeds and new human text of this kind, given this base model" in own
    assert "for this pool" not in own  # each seed learns most of its part, and shares none of it
    study_of(tmp_path, 1)
    shared = sentences(tmp_path / "study")
    assert "new seeds, given this human pool, held-out text and base model" in shared
    assert "of the human pool" in shared


def test_a_plan_reads_the_part_of_the_recipes_seed(parted):
    runs, _ = parted
    for run in next(iter(runs.values())):
        assert tm.make_plan(run.recipe).human_documents == len(run.human)
