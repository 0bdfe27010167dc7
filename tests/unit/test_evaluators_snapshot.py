"""The evaluators of text on a whole snapshot, with a model small enough to know by heart."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from textmad.evaluators import (
    COMPARED,
    METRICS,
    Diversity,
    NgramGap,
    Perplexity,
    RareTokens,
    SelfBleu,
    Snapshot,
    TextPerplexity,
    measure,
    population,
)
from textmad.evaluators.held_out import (
    held_out_subset,
    num_held_out_tokens,
    pilot_texts,
    relative_error,
    tokens_for,
)
from textmad.evaluators.metrics import MEASURED
from textmad.kinship import HUMAN, Descent
from textmad.models.protocol import TokenScores
from textmad.recipe.components import BUILT_IN, Component
from textmad.seeds import stream
from textmad.testing import check_evaluator
from textmad.text.documents import documents
from textmad.text.passages import Passages

END = 0
TYPES = ["<end>", *(f"w{i}" for i in range(40))]


class Unigram:
    """Words are tokens, each with a fixed probability; counts what it is asked to score."""

    name, context = "unigram", 512

    def __init__(self, shares):
        self.shares = np.array(shares) / np.sum(shares)
        self.num_scored = Counter()

    def encode(self, texts):
        known = {word: number for number, word in enumerate(TYPES)}
        return [np.array([*(known.get(w, 1) for w in t.split()), END], np.int32) for t in texts]

    def token_nll(self, texts, prompts=None):
        self.num_scored.update(texts)
        return [-np.log(self.shares[ids]) for ids in self.encode(texts)]

    def token_scores(self, texts, prompts=None):
        nll = self.token_nll(texts)
        return TokenScores(nll, [ids == self.shares.argmax() for ids in self.encode(texts)])


ZIPF = [1.0, *(1 / rank for rank in range(1, 41))]
UNIFORM = [1.0] * len(TYPES)


OF_MODEL_TEXT = ("base_perplexity_as_sampled", "reencoded_share")  # human text was not sampled
EVALUATORS = [Perplexity(), Diversity(), RareTokens(), TextPerplexity(), NgramGap(), SelfBleu()]


def written(num: int, name: str, shares=ZIPF) -> list[str]:
    rng, shares = stream(0, name), np.array(shares[1:]) / sum(shares[1:])
    sizes = rng.integers(8, 20, num)
    return [" ".join(f"w{i}" for i in rng.choice(40, size, p=shares)) for size in sizes]


def corpus(texts, **columns):
    return documents({"text": texts, "tokens": [len(t.split()) + 1 for t in texts]} | columns)


@pytest.fixture
def snapshot():
    human = written(200, "human")
    model = written(100, "model")
    training = corpus(human[:100] + model, origin=["human"] * 100 + ["model"] * 100)
    return Snapshot(
        generation=1,
        model=Unigram(ZIPF),
        base=Unigram(UNIFORM),
        held_out=corpus(written(60, "held_out")),
        human=corpus(human),
        training=training,
        texts={
            "drawn": written(50, "drawn"),
            "kept": written(50, "kept", [1.0] * 5 + [1e-9] * 36),
            "human": written(75, "held out too"),
            "base": written(75, "base"),
        },
        num_documents=50,
        num_words=400,
        rng=stream(0, "evaluate"),
    )


def values(evaluator, snapshot):
    found = measure("it", evaluator, snapshot)
    return {(m.metric, m.split, m.bin): m for m in found}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_every_metric_is_known_and_every_split_has_the_same_ones(evaluator, snapshot):
    found = values(evaluator, snapshot)
    assert {metric for metric, _, _ in found} <= METRICS.keys()
    by_split = {
        split: {(m, bin_) for m, of, bin_ in found if of == split and m not in OF_MODEL_TEXT}
        for split in COMPARED
    }
    assert by_split["drawn"] != set()
    assert all(metrics == by_split["drawn"] for metrics in by_split.values())


def test_no_metric_of_the_table_is_left_unmeasured(snapshot):
    options = {"judge": {"model": "some/judge"}}
    snapshot = replace(snapshot, open_judge=lambda name: Unigram(ZIPF))
    evaluators = {
        name: Component(name=name, options=options.get(name, {})).build("evaluator")
        for name in BUILT_IN["evaluator"]
    }
    measured = {
        name: {(metric, split) for metric, split, _ in values(evaluator, snapshot)}
        for name, evaluator in evaluators.items()
    }
    found = population.measure([Passages.whole(["a b"])] * 2)
    found += population.measure_lineage([Descent(0, k, -1, HUMAN, 1.0) for k in range(2)], 0)
    measured["population"] = {(each.metric, each.split) for each in found}
    # Here nothing is crawled, and nobody's taste drifts.
    measured["votes"] |= {("votes_share", "crawled"), ("taste", "drawn")}
    assert {metric for of in measured.values() for metric, _ in of} == METRICS.keys()
    assert measured == MEASURED


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_missing_split_is_nan_with_a_note_and_leaves_the_others_alone(evaluator, snapshot):
    whole = values(evaluator, snapshot)
    rest = {name: texts for name, texts in snapshot.texts.items() if name != "kept"}
    found = values(evaluator, replace(snapshot, texts=rest))
    assert found.keys() == whole.keys()
    for key, m in found.items():
        if key[0] in OF_MODEL_TEXT:
            assert m.note in ("the sampled ids are not known", "too few kept documents")
        elif key[1] == "kept":
            assert math.isnan(m.value)
            assert m.note == "too few kept documents"
        else:
            assert m == whole[key] or (math.isnan(m.value) and m.note == whole[key].note)


def test_held_out_perplexity_and_accuracy_are_those_of_the_model(snapshot):
    found = values(Perplexity(), snapshot)
    tokens = [t for text in snapshot.held_out["text"] for t in [*text.split(), TYPES[END]]]
    shares = dict(zip(TYPES, snapshot.model.shares, strict=True))
    expected = math.exp(sum(-math.log(shares[t]) for t in tokens) / len(tokens))
    m = found["perplexity", "held_out", ""]
    assert m.value == pytest.approx(expected)
    assert m.n == len(tokens)
    # Of two equally likely tokens argmax is the first, the end token: once a document.
    assert found["accuracy", "held_out", ""].value == 60 / len(tokens)


def test_the_base_model_scores_every_kind_of_text(snapshot):
    found = values(Perplexity(), snapshot)
    for split in ("held_out", "drawn", "kept", "human"):
        assert found["base_perplexity", split, ""].value == pytest.approx(len(TYPES))


def test_the_spread_of_perplexity_is_of_documents_and_scores_no_text_again(snapshot):
    # Under Zipf's weights a text's perplexity is that of its own words and its end.
    told = replace(snapshot, base=Unigram(ZIPF), run_cache={})
    values(Perplexity(), told)
    found = values(TextPerplexity(), told)
    assert {told.base.num_scored[text] for text in told.texts["drawn"]} == {1}
    shares = dict(zip(TYPES, told.base.shares, strict=True))
    nats = [
        -sum(math.log(shares[w]) for w in [*text.split(), TYPES[END]]) / (len(text.split()) + 1)
        for text in told.texts["drawn"]
    ]
    assert found["text_perplexity", "drawn", "median"].value == pytest.approx(
        math.exp((sorted(nats)[24] + sorted(nats)[25]) / 2)
    )
    # The 99th percentile of 50 lies at rank 0.99 * 49 = 48.51, between the two largest.
    low, high = sorted(nats)[-2:]
    assert found["text_perplexity", "drawn", "99%"].value == pytest.approx(
        math.exp(low + 0.51 * (high - low))
    )
    assert found["text_perplexity", "human", "1%"].n == 50
    check_evaluator(TextPerplexity())


def test_the_subset_bounds_the_held_out_tokens(snapshot):
    m = values(Perplexity(held_out_tokens=100), snapshot)["perplexity", "held_out", ""]
    assert 100 <= m.n < 120


def test_a_precision_is_met_by_the_base_model_and_is_the_same_in_all_generations(snapshot):
    # A base model that holds half of the words for unlikely: documents of few words differ by luck.
    base = Unigram([1 / 4 if word % 2 else 0.01 for word in range(len(UNIFORM))])
    first = replace(snapshot, base=base)
    later = replace(first, generation=2, model=Unigram(UNIFORM))
    texts = pilot_texts(snapshot.held_out)
    wanted = tokens_for(0.04, base.token_nll(texts))
    for each in (first, later):
        assert num_held_out_tokens(each, "4%") == wanted
        found = values(Perplexity(held_out_tokens="4%"), each)
        scored = held_out_subset(snapshot.held_out, wanted)["text"][:]
        assert found["perplexity", "held_out", ""].n == sum(map(len, base.token_nll(scored)))
        assert values(RareTokens(held_out_tokens="4%"), each)
        assert found["base_perplexity", "held_out", ""].note == (
            f"relative standard error {relative_error(base.token_nll(scored)):.2%}, 4% was asked "
            "for"
        )
    assert num_held_out_tokens(first, 123) == 123


def test_two_evaluators_score_held_out_text_once(snapshot):
    values(Perplexity(), snapshot)
    values(RareTokens(), snapshot)
    assert set(snapshot.model.num_scored.values()) == {1}


def test_the_base_model_scores_human_text_once_a_run(snapshot):
    values(Perplexity(), snapshot)
    later = replace(snapshot, generation=2, model=Unigram(UNIFORM))
    assert values(Perplexity(), later)["perplexity", "held_out", ""].value == pytest.approx(41)
    scored = snapshot.base.num_scored
    assert {scored[text] for text in snapshot.texts["human"]} == {1}
    assert {scored[text] for text in snapshot.texts["drawn"]} == {2}


def test_selected_text_narrows_beside_human_text_of_equal_size(snapshot):
    found = values(Diversity(), snapshot)
    for metric in ("distinct_1", "entropy_1", "mattr", "mtld", "hdd", "heaps_exponent"):
        kept, human = (found[metric, split, ""] for split in ("kept", "human"))
        assert kept.value < human.value, metric
    assert (
        found["compression_ratio", "kept", ""].value > found["compression_ratio", "human", ""].value
    )
    assert {found["distinct_1", split, ""].n for split in ("drawn", "kept", "human")} == {400}


def test_copied_training_text_shows_as_overlap_with_its_origin(snapshot):
    model = [
        t
        for t, o in zip(snapshot.training["text"], snapshot.training["origin"], strict=True)
        if o == "model"
    ]
    copied = replace(snapshot, texts=snapshot.texts | {"drawn": model[:50]})
    found = values(Diversity(overlap_words=8), copied)
    assert found["overlap", "drawn", "model"].value == 1.0
    assert found["overlap", "drawn", ""].value == 1.0
    assert found["overlap", "drawn", "human"].value < 0.1


def test_training_without_model_text_has_no_overlap_with_it(snapshot):
    human_only = replace(snapshot, training=corpus(written(100, "human")))
    m = values(Diversity(overlap_words=8), human_only)["overlap", "drawn", "model"]
    assert math.isnan(m.value)
    assert m.note == "no model text"


def test_rare_types_die_out_in_selected_text(snapshot):
    found = values(RareTokens(), snapshot)
    assert found["rare_rate", "kept", ""].value == 0.0
    assert found["surviving_rare_types", "kept", ""].value == 0.0
    assert found["rare_rate", "human", ""].value == pytest.approx(0.1, abs=0.05)
    assert found["unseen_mass", "kept", ""].value > found["unseen_mass", "human", ""].value
    assert {found["rare_rate", split, ""].n for split in ("drawn", "kept", "human")} == {400}


def test_rare_held_out_tokens_cost_what_the_model_gives_them(snapshot):
    found = values(RareTokens(), snapshot)
    assert found["rare_gap", "held_out", ""].value > 1.0
    uniform = values(RareTokens(), replace(snapshot, model=Unigram(UNIFORM)))
    assert uniform["rare_gap", "held_out", ""].value == pytest.approx(0.0, abs=1e-12)
    assert uniform["rare_loss", "held_out", ""].value == pytest.approx(math.log(41))


def test_too_few_tokens_are_said(snapshot):
    m = values(RareTokens(), replace(snapshot, num_words=10**6))["rare_rate", "drawn", ""]
    assert math.isnan(m.value)
    assert m.note.endswith("tokens, 1000000 needed")


@pytest.mark.parametrize("evaluator", [Perplexity(), RareTokens()])
def test_permuting_held_out_human_and_training_documents_changes_nothing(evaluator, snapshot):
    backward = replace(
        snapshot,
        held_out=corpus(list(snapshot.held_out["text"])[::-1]),
        human=corpus(list(snapshot.human["text"])[::-1]),
    )
    found = values(evaluator, backward)
    for key, m in values(evaluator, snapshot).items():
        assert m.value == pytest.approx(found[key].value, nan_ok=True), key
