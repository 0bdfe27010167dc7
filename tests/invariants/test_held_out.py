"""Held-out human text is measured on, and nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import textmad as tm
from textmad import store

SEEN_BY_FILTER: list[str] = []
SEEN_BY_SCORER: list[str] = []


@dataclass(frozen=True)
class Nosy:
    """Notes every text and id that a filter can get hold of."""

    def __call__(self, candidates, context):
        SEEN_BY_FILTER.extend(candidates["text"])
        for corpus in (context.human, *map(context.earlier, range(context.generation))):
            for name in ("id", "text", "prompt", "conversation"):
                SEEN_BY_FILTER.extend(value for value in corpus[name] if value is not None)
        return tm.Verdicts(np.ones(len(candidates), bool), np.zeros(len(candidates)))


def nosy_scorer(texts: list[str]) -> list[float]:
    SEEN_BY_SCORER.extend(texts)
    return [float(len(text)) for text in texts]


@pytest.fixture(scope="module")
def run(short_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    SEEN_BY_FILTER.clear()
    SEEN_BY_SCORER.clear()
    recipe = short_recipe.replace(
        mix={"human_tokens": 600, "model_tokens": 600, "human": "fresh"},
        sample={"prompt": "human", "prompt_tokens": 6, "max_new_tokens": 50, "oversample": 2.0},
        crawl={"contamination": 0.2, "guard": [Nosy()]},
        curate=[Nosy(), tm.filters.Upvotes(scorer=nosy_scorer, keep=0.8)],
        evaluate=["perplexity", "diversity", "rare_tokens"],
    )
    return tm.run(recipe, tmp_path_factory.mktemp("held-out") / "run")


def strings(value: Any) -> Iterator[str]:
    """All strings in a nesting of plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def strings_in(path: Path) -> set[str]:
    if path.suffix == ".parquet":
        return set(strings(pq.read_table(path).to_pylist()))
    return set(strings(json.loads(path.read_text())))


def test_held_out_ids_texts_and_conversations_are_in_no_other_file_of_the_run(run):
    held_out = run.held_out
    names = set(held_out["id"]) | set(held_out["text"]) | set(held_out["conversation"])
    assert len(held_out) > 50
    own = run.path / "corpus" / "held_out.parquet"
    assert names <= strings_in(own)
    losses = {run.path / f"gen-{g:02}" / "evaluate" / store.HELD_OUT_LOSSES for g in range(3)}
    others = {p for p in run.path.rglob("*") if p.suffix in (".parquet", ".json") and p != own}
    assert losses < others
    assert len(others - losses) > 3 * 5
    for path in others - losses:
        assert not names & strings_in(path), path
    # These say by its id which document had which loss, and nothing else of it.
    for path in losses:
        table = pq.read_table(path).to_pydict()
        assert set(table.pop("document")) <= set(held_out["id"]), path
        assert not any(isinstance(value, str) for column in table.values() for value in column)


def test_no_stage_is_made_from_what_an_evaluation_has_written(run):
    manifests = store.RunFolder(run.path).manifests()
    digests = {manifest.stage: manifest.digest for manifest in manifests}
    measured = {digest for stage, digest in digests.items() if stage.endswith("/evaluate")}
    assert len(measured) == 3
    inputs = {name for manifest in manifests for name in strings(manifest.inputs)}
    assert {d for stage, d in digests.items() if stage.endswith("/model")} <= inputs  # as it names
    assert not measured & inputs


def test_no_held_out_text_stands_inside_a_longer_text_that_a_model_learns_or_writes(run):
    held_out = run.held_out["text"][:]
    for generation in range(3):
        for corpus in (run.training(generation), run.candidates(generation)):
            together = "\n".join(
                prompt + text for prompt, text in zip(corpus["prompt"], corpus["text"], strict=True)
            )
            assert not any(text in together for text in held_out)


def test_neither_a_filter_nor_a_scorer_can_see_held_out_text(run):
    held_out = run.held_out
    names = set(held_out["id"]) | set(held_out["text"]) | set(held_out["conversation"])
    assert set(run.human["text"]) <= set(SEEN_BY_FILTER)  # it did look
    assert len(SEEN_BY_SCORER) > 20
    assert not names & set(SEEN_BY_FILTER)
    assert not names & set(SEEN_BY_SCORER)
