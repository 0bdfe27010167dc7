"""Settings and orders that must make no difference to a run."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

import textmad as tm
from textmad.corpus import Corpus, open_corpus
from textmad.evaluators.lexical import distinct, entropy_bits
from textmad.evaluators.perplexity import bits_per_byte, corpus_perplexity
from textmad.evaluators.rare_tokens import loss_by_bin, text_tokens
from textmad.models.opening import open_model
from textmad.text.words import code_words, ngrams


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


MOODS = """
import numpy as np
from textmad.recipe import SampleSettings

mood = None

def moody(snapshot):
    texts = snapshot.held_out["text"][:40]
    nats = {
        "loss": snapshot.model.token_nll(texts),
        "base_entropy": snapshot.base.token_moments(texts).entropy,
        "cross_entropy": snapshot.model.cross_entropy(texts, snapshot.base),
    }
    if mood == "evaluator raises":
        raise ValueError("not now")
    if mood == "evaluator is interrupted":
        raise KeyboardInterrupt
    drawn = snapshot.model.sample(
        SampleSettings(max_new_tokens=9), num_tokens=20, stream=np.random.default_rng
    )
    sums = {name: sum(float(text.sum()) for text in found) for name, found in nats.items()}
    return {**sums, "drawn": sum(document.tokens for document in drawn)}
"""

# What each process has made, what it has scored while the first one evaluated, and what it ended
# with in every mood.
PROGRAM = """
import json, shutil, sys
import moods
import textmad as tm
from textmad import mixture
from textmad.loop import human_text
from textmad.models.distributed import processes
from textmad.models.causal_lm.model import CausalLM

made, scored, ends = [], [], {}
open_corpus, mix = human_text.open_corpus, mixture.mix
human_text.open_corpus = lambda *a, **k: made.append("corpus") or open_corpus(*a, **k)
mixture.mix = lambda *a, **k: made.append("mix") or mix(*a, **k)
token_scores = CausalLM.token_scores

def watched(self, texts, prompts=None):
    found = token_scores(self, texts, prompts)
    scored.append(sum(map(len, found.nll)))
    if (moods.mood, processes.rank()) == ("second process fails", 1):
        raise ValueError("out of order")
    if (moods.mood, processes.rank()) == ("first process is interrupted", 0):
        raise KeyboardInterrupt
    return found

CausalLM.token_scores = watched

def run(recipe, out, cache=None):
    return tm.run(tm.load_recipe(recipe), out, num_processes=2, cache=cache)

run("recipe.yaml", "together", "cache")
shares = list(scored)
if processes.is_main():
    shutil.copytree("together", "whole")
    for stage in ("corpus", "gen-01/curate", "gen-01/evaluate"):
        shutil.rmtree(f"together/{stage}")
processes.barrier()
run("recipe.yaml", "together", "cache")
made_together = list(made)
for moods.mood in (
    "evaluator raises", "evaluator is interrupted", "second process fails",
    "first process is interrupted", "good",
):
    try:
        ends[moods.mood] = str(len(run("moody.yaml", "moody").metrics))
    except BaseException as error:
        ends[moods.mood] = f"{type(error).__name__}: {error}"
with open(f"{processes.rank()}.json", "w") as file:
    json.dump({"made": made_together, "scored": shares, "ends": ends}, file)
"""


class TwoProcesses(NamedTuple):
    """A folder in which two processes have run PROGRAM, and what each of them found."""

    folder: Path
    recipe: tm.Recipe
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def two_processes(
    short_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory, python: Callable[..., str]
):
    folder = tmp_path_factory.mktemp("two")
    recipe = short_recipe.replace(
        generations=1,
        curate=[{"random": {"keep": 0.95}}, {"upvotes": {"scorer": "fluency", "keep": 0.9}}],
        sample={"oversample": 1.5, "prompt": "human", "prompt_tokens": 6, "max_new_tokens": 50},
    )
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "moods.py").write_text(MOODS)
    moody = yaml.safe_load(recipe.to_yaml())
    moody |= {"generations": 0, "curate": [], "evaluate": ["moods:moody"]}
    (folder / "moody.yaml").write_text(yaml.safe_dump(moody))
    (folder / "program.py").write_text(PROGRAM)
    python(folder, "program.py", processes=2)
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    return TwoProcesses(folder, recipe, *found)


def test_two_processes_make_the_run_that_one_makes(two_processes: TwoProcesses, tmp_path: Path):
    alone = tm.run(two_processes.recipe, tmp_path / "alone")
    together = tm.Run(two_processes.folder / "whole")
    assert together.complete
    sessions = json.loads((together.path / "provenance.json").read_text())["sessions"]
    assert [session["processes"] for session in sessions] == [2]
    assert training_sets(together) == training_sets(alone)
    for generation in range(2):
        one, other = (run.candidates(generation).to_list() for run in (alone, together))
        for column in ("score", "quality", "reward_fluency"):  # of the base model, in other batches
            values = [[row.pop(column) for row in rows] for rows in (one, other)]
            np.testing.assert_allclose(*np.array(values, float), rtol=1e-4)
        assert one == other
        curves = [run.curve(generation) for run in (alone, together)]
        np.testing.assert_array_equal(curves[0]["tokens"], curves[1]["tokens"])
        np.testing.assert_allclose(curves[0]["loss"], curves[1]["loss"], rtol=0, atol=1e-4)
    metrics = [run.metrics["value"].to_numpy() for run in (alone, together)]
    np.testing.assert_allclose(metrics[0], metrics[1], rtol=1e-4)


def test_the_first_process_alone_makes_corpus_and_mixtures_and_takes_the_corpus_from_the_cache(
    two_processes: TwoProcesses,
):
    # The corpus was deleted after the run, which then went on without making it again.
    assert two_processes.first["made"] == ["corpus", "mix", "mix"]
    assert two_processes.second["made"] == []


def test_the_second_process_scores_half_of_what_the_first_one_asks(two_processes: TwoProcesses):
    first, second = two_processes.first["scored"], two_processes.second["scored"]
    # A generation: fluency in curate; in evaluate the model and the base model on held-out text,
    # the base model on drawn, kept and human text and on its own. All but drawn and kept text only
    # once under the base model.
    assert len(first) == len(second) == 7 + 4
    # At most by the longest text: 60 tokens, and its end.
    assert all(abs(mine - other) <= 61 for mine, other in zip(first, second, strict=True))
    assert sum(first) == pytest.approx(sum(second), rel=0.05)


def test_two_processes_say_of_texts_what_one_model_says(two_processes: TwoProcesses):
    run = tm.Run(two_processes.folder / "moody")
    base = open_model(run.recipe.model, run.recipe.sample)
    model = base.load(run.path / "gen-00" / "model")
    texts = run.held_out["text"][:40]
    nats = {
        "loss": model.token_nll(texts),
        "base_entropy": base.token_moments(texts).entropy,
        "cross_entropy": model.cross_entropy(texts, base),
    }
    found = dict(zip(run.metrics["metric"], run.metrics["value"], strict=True))
    assert found.pop("drawn") >= 20
    assert found == pytest.approx(
        {name: sum(text.sum() for text in values) for name, values in nats.items()}, rel=1e-6
    )


def test_two_processes_that_resume_give_the_same_to_the_last_byte(two_processes: TwoProcesses):
    whole, resumed = (two_processes.folder / name for name in ("whole", "together"))
    for name in ("metrics.parquet", "gen-01/curate/candidates.parquet"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_whatever_stops_the_first_process_stops_the_second(two_processes: TwoProcesses):
    raised = "EvaluationError: evaluator moods:moody, generation 0: raised"
    stopped = "TextmadError: the first process stopped: KeyboardInterrupt"
    ends = {
        name: re.sub(r" \(\S+moods.py, line \d+, in \w+\)", "", end)
        for name, end in two_processes.first["ends"].items()
    }
    assert ends == {
        "evaluator raises": f"{raised} ValueError: not now",
        "evaluator is interrupted": "KeyboardInterrupt: ",
        "second process fails": (
            f"{raised} ModelError: token_nll in process 1: ValueError: out of order"
        ),
        "first process is interrupted": "KeyboardInterrupt: ",
        "good": "4",
    }
    assert two_processes.second["ends"] == {
        **two_processes.first["ends"],
        "evaluator is interrupted": stopped,
        "first process is interrupted": stopped,
    }
