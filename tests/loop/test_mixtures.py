"""The literature's five loops, as settings of one recipe: where each training set comes from."""

from pathlib import Path
from typing import NamedTuple

import pytest
from datasets import Dataset

import textmad as tm
from textmad.store import SharedStages

GENERATIONS = 3
BUDGET = 600  # of either kind; a document has at most 64 tokens


class Loop(NamedTuple):
    """One of the literature's loops, and where generation g's model text comes from."""

    mix: dict[str, object]
    sources: dict[int, set[int]]


LATEST = {1: {0}, 2: {1}, 3: {2}}
ALL = {1: {0}, 2: {0, 1}, 3: {0, 1, 2}}
LOOPS = {
    "fully synthetic": Loop({"model_tokens": BUDGET, "model": "latest"}, LATEST),
    "augmentation": Loop(
        {"human_tokens": BUDGET, "model_tokens": BUDGET, "human": "fixed", "model": "latest"},
        LATEST,
    ),
    "fresh data": Loop(
        {"human_tokens": BUDGET, "model_tokens": BUDGET, "human": "fresh", "model": "latest"},
        LATEST,
    ),
    "accumulate": Loop(
        {"human_tokens": BUDGET, "model_tokens": BUDGET, "human": "fixed", "model": "all"}, ALL
    ),
    "pool": Loop(
        {"human_tokens": BUDGET, "model_tokens": BUDGET, "human": "fixed", "model": "pool"}, ALL
    ),
    "accumulate-subsample": Loop(
        {
            "human_tokens": BUDGET,
            "model_tokens": BUDGET,
            "human": "fixed",
            "model": "all",
            "subsample_tokens": 2 * BUDGET,
        },
        ALL,
    ),
}


@pytest.fixture(scope="module", params=LOOPS)
def loop(request: pytest.FixtureRequest) -> tuple[str, Loop]:
    return request.param, LOOPS[request.param]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder: most loops begin with the same generation 0, which is computed once."""
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def run(loop: tuple[str, Loop], short_recipe: tm.Recipe, study: Path) -> tm.Run:
    recipe = short_recipe.replace(generations=GENERATIONS, mix=loop[1].mix)
    name = f"{loop[0].replace(' ', '-')}/seed-0"
    return tm.run(recipe, study / "runs" / name, shared=SharedStages(study, name))


def part(run: tm.Run, generation: int, origin: str) -> Dataset:
    training = run.training(generation)
    return training.select([i for i, o in enumerate(training["origin"]) if o == origin])


def ids(run: tm.Run, generation: int, origin: str) -> set[str]:
    return set(part(run, generation, origin)["id"])


def test_generation_0_learns_human_text_only_on_the_whole_budget(run, loop):
    budget = sum(loop[1].mix.get(f"{side}_tokens", 0) for side in ("human", "model"))
    counts = run.mixture(0)
    assert counts["model_tokens"] == counts["model_documents"] == 0
    assert 0 <= counts["human_tokens"] - budget < 64
    assert ids(run, 0, "human") <= set(run.human["id"])


def test_model_text_is_kept_text_of_the_generations_it_should_come_from(run, loop):
    for generation, sources in loop[1].sources.items():
        texts = part(run, generation, "model")
        assert set(texts["generation"]) == sources
        kept = {
            (row["id"], row["text"], row["tokens"])
            for source in sources
            for row in run.kept(source)
        }
        learned = [(row["id"], row["text"], row["tokens"]) for row in texts]
        assert set(learned) <= kept
        assert len(learned) == len(set(learned))  # never one document twice


def test_the_budgets_are_met_to_within_a_document(run, loop):
    name, (mix, sources) = loop
    for generation, froms in sources.items():
        counts = run.mixture(generation)
        human, model = part(run, generation, "human"), part(run, generation, "model")
        assert counts["human_tokens"] == sum(human["tokens"])
        assert counts["model_tokens"] == sum(model["tokens"])
        if name == "accumulate-subsample":  # one budget for both
            assert 0 <= counts["human_tokens"] + counts["model_tokens"] - 2 * BUDGET < 64
            continue
        assert 0 <= counts["human_tokens"] - mix.get("human_tokens", 0) < 64
        times = len(froms) if name == "accumulate" else 1  # only there does the set grow
        assert 0 <= counts["model_tokens"] - times * BUDGET < times * 64


def test_human_text_is_the_same_or_new_as_the_loop_has_it(run, loop):
    learned = [ids(run, generation, "human") for generation in range(GENERATIONS + 1)]
    if loop[0] == "fully synthetic":
        assert learned[1:] == [set()] * GENERATIONS
    elif loop[0] == "fresh data":
        assert all(learned[1:])
        assert len(set.union(*learned)) == sum(map(len, learned))
    elif loop[0] == "accumulate-subsample":  # a sample of the same text, and less each time
        assert all(some <= learned[0] for some in learned)
        counts = [run.mixture(generation)["human_tokens"] for generation in range(1, 4)]
        assert counts == sorted(counts, reverse=True)
    else:
        assert learned[1] <= learned[0]
        assert learned[1:] == [learned[1]] * GENERATIONS
    assert all(some <= set(run.human["id"]) for some in learned)
