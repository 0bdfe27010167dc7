"""Settings and orders that must make no difference to a run."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from textmad.corpus import Corpus, open_corpus
from textmad.evaluators.lexical import distinct, entropy_bits
from textmad.evaluators.perplexity import bits_per_byte, corpus_perplexity
from textmad.evaluators.rare_tokens import loss_by_bin, text_tokens
from textmad.evaluators.words import code_words, ngrams
from textmad.models import open_model


def training_sets(run: tm.Run) -> list[list[dict[str, object]]]:
    return [run.training(generation).to_list() for generation in run.generations]


@pytest.fixture(scope="module")
def measured_recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(evaluate=["perplexity", "diversity", "rare_tokens"])


@pytest.fixture(scope="module")
def unfiltered(measured_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    return tm.run(measured_recipe, tmp_path_factory.mktemp("unfiltered") / "run")


@pytest.mark.parametrize("name", ["random", "upvotes"])
def test_a_filter_that_keeps_all_is_no_filter(
    measured_recipe: tm.Recipe, unfiltered: tm.Run, tmp_path: Path, name: str
):
    filtered = tm.run(measured_recipe.replace(curate=[{name: {"keep": 1.0}}]), tmp_path / "run")
    assert all(filtered.candidates(0)["score"][i] is not None for i in range(3))  # it was there
    assert without_votes(filtered) == without_votes(unfiltered)
    assert filtered.metrics.equals(unfiltered.metrics)


def without_votes(run: tm.Run) -> list[list[dict[str, object]]]:
    """The training sets; votes are on documents that were voted on, and no model reads them."""
    sets = training_sets(run)
    return [[{k: v for k, v in row.items() if k != "votes"} for row in rows] for rows in sets]


# --- the order of the corpus file -----------------------------------------------------------


@pytest.fixture(scope="module")
def two_orders(
    short_recipe: tm.Recipe, human_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Corpus, Corpus]:
    lines = human_corpus.read_text().splitlines()
    permuted = lines.copy()
    random.Random(0).shuffle(permuted)
    assert permuted != lines
    path = tmp_path_factory.mktemp("permuted") / "human.jsonl"
    path.write_text("\n".join(permuted) + "\n")
    model = open_model(short_recipe.model, short_recipe.sample)
    opened = [
        open_corpus(
            short_recipe.replace(corpus={"source": str(source)}).corpus,
            lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32),
        )
        for source in (human_corpus, path)
    ]
    return opened[0], opened[1]


def test_the_order_of_the_corpus_file_does_not_change_the_split(two_orders):
    first, second = two_orders
    assert first.human["id"][:] != second.human["id"][:]
    for part in ("human", "held_out"):
        one, other = getattr(first, part), getattr(second, part)
        assert sorted(one["id"]) == sorted(other["id"])
        assert dict(zip(one["id"], one["text"], strict=True)) == dict(
            zip(other["id"], other["text"], strict=True)
        )


def test_the_order_of_the_corpus_file_changes_no_metric_of_a_whole_corpus(
    two_orders, short_recipe: tm.Recipe
):
    model = open_model(short_recipe.model, short_recipe.sample)
    measured = []
    for corpus in two_orders:
        counts = np.bincount(text_tokens(model.encode(corpus.human["text"])), minlength=512)
        texts = corpus.held_out["text"][:]
        nll = model.token_nll(texts)
        words = code_words(texts)
        measured.append(
            {
                "perplexity": corpus_perplexity(nll),
                "bits_per_byte": bits_per_byte(nll, texts),
                **{
                    f"{m.metric} {m.bin}": m.value
                    for m in loss_by_bin(nll, model.encode(texts), counts)
                },
                **{f"distinct_{n}": distinct(ngrams(words, n).ids) for n in (1, 2, 3)},
                "entropy": entropy_bits(words.codes),
            }
        )
    # Sums of floats in another order differ in their last bits, and batches in single precision.
    assert measured[0] == pytest.approx(measured[1], rel=1e-6)


# --- processes ------------------------------------------------------------------------------


def test_two_processes_make_the_run_that_one_makes(
    short_recipe: tm.Recipe, tmp_path: Path, python: Callable[..., str]
):
    recipe = short_recipe.replace(
        generations=1,
        curate=[{"random": {"keep": 0.9}}],
        sample={"oversample": 1.5, "prompt": "human", "prompt_tokens": 6, "max_new_tokens": 50},
    )
    alone = tm.run(recipe, tmp_path / "alone")
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    program = (
        "import sys, textmad as tm\n"
        "tm.run(tm.load_recipe(sys.argv[1]), sys.argv[2], num_processes=2)\n"
    )
    (tmp_path / "program.py").write_text(program)
    python(tmp_path, "program.py", "recipe.yaml", "together", processes=2)
    together = tm.Run(tmp_path / "together")
    assert together.complete
    sessions = json.loads((tmp_path / "together" / "provenance.json").read_text())["sessions"]
    assert [session["processes"] for session in sessions] == [2]
    assert training_sets(together) == training_sets(alone)
    for generation in range(2):
        assert together.candidates(generation).to_list() == alone.candidates(generation).to_list()
        curves = [run.curve(generation) for run in (alone, together)]
        np.testing.assert_array_equal(curves[0]["tokens"], curves[1]["tokens"])
        np.testing.assert_allclose(curves[0]["loss"], curves[1]["loss"], rtol=0, atol=1e-4)
    metrics = [run.metrics["value"].to_numpy() for run in (alone, together)]
    np.testing.assert_allclose(metrics[0], metrics[1], rtol=1e-4)
