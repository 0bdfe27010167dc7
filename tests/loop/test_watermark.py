"""A watermark in the whole loop: drawn by some documents, recognised, and kept from the next."""

from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from textmad.seeds import stream

MARK = {"kind": "green_list", "key": 77, "bias": 9.0, "share": 0.5}
GUARD = {"watermark": {"kind": "green_list", "key": 77, "false_alarms": 0.001}}


@pytest.fixture(scope="module")
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(generations=1, sample={"oversample": 3.0})


@pytest.fixture(scope="module")
def guarded(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    out = tmp_path_factory.mktemp("watermark") / "run"
    return tm.run(recipe.replace(sample={"watermark": MARK}, curate=[GUARD]), out)


def carried(run: tm.Run, generation: int) -> np.ndarray:
    """Which documents carry the mark: their stream's number after those of the tokens says so."""
    recipe, marked = run.recipe, []
    for index in range(len(run.candidates(generation))):
        rng = stream(recipe.seed, "sample", generation, index)
        rng.random(recipe.sample.max_new_tokens)
        marked.append(rng.random() < MARK["share"])
    return np.array(marked)


def test_documents_without_the_mark_are_those_of_a_run_without_the_group(
    recipe: tm.Recipe, guarded: tm.Run, tmp_path: Path
):
    # Generation 0 learns from the same human text, so the two draw from the same model.
    plain = tm.run(recipe.replace(generations=0), tmp_path / "plain").candidates(0)["text"]
    marked, texts = carried(guarded, 0), guarded.candidates(0)["text"]
    assert 0.3 < marked.mean() < 0.7
    for one, other, is_marked in zip(texts, plain, marked, strict=False):
        assert (one == other) != is_marked


def test_what_carries_the_mark_is_recognised_and_the_next_generation_never_sees_it(
    guarded: tm.Run,
):
    for generation in (0, 1):
        candidates = guarded.candidates(generation).to_pandas()
        marked = carried(guarded, generation)
        assert (~candidates["kept"][marked]).mean() > 0.9
        assert candidates["kept"][~marked].mean() > 0.95
        assert (candidates["watermark_p"] <= 0.001).equals(~candidates["kept"])
        assert candidates["reason"][~candidates["kept"]].str.match(r"z \d+\.\d over \d+ tok").all()
    kept = guarded.candidates(0).filter(lambda row: row["kept"])["text"]
    assert set(guarded.training(1)["text"]) <= set(kept)
