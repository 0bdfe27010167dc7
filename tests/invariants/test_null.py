"""The null test: text that does not differ from a reference is not called different.

Drawn text is replaced by held-out human text, and each metric has to lie in the human interval.
Text of the base model is compared with other text of it. Every evaluator that has a reference is
here (`test_every_metric_with_a_reference_is_tested`), so a new one cannot be forgotten. The mirror:
a planted difference is found.

The intervals promise 95 %. Of `num` draws at least as many have to lie inside as a metric with 93 %
would have in 999 of 1,000 cases, so a right metric fails here once in some ten thousand times.
"""

from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from tests.null_draws import SETTINGS, Laboratory, Setting, inside
from textmad.evaluators import (
    Detection,
    Diversity,
    Embedding,
    Judge,
    Memorisation,
    NgramGap,
    Perplexity,
    RareTokens,
    SelfBleu,
    TextPerplexity,
)
from textmad.evaluators.metrics import MEASURED
from textmad.evaluators.protocol import REFERENCES
from textmad.seeds import stream

# N-grams so short that texts cut at a few words have some.
CHEAP = {
    "perplexity": Perplexity(held_out_tokens=10),
    "diversity": Diversity(overlap_words=3),
    "rare_tokens": RareTokens(held_out_tokens=10),
    "text_perplexity": TextPerplexity(),
    "ngram_gap": NgramGap(),
    "self_bleu": SelfBleu(),
    "memorisation": Memorisation(ngram_words=(2, 4)),
    "detection": Detection(("curvature", "cross_perplexity")),
    "judge": Judge("bigrams"),
}
DEAR = {"embedding": Embedding(), "detection": Detection(("trained",))}
TESTED = {name for name, of in MEASURED.items() if any(s in REFERENCES for _, s in of)} - {
    "facts"  # asks questions, and compares no text: its base split is the base model's answers
}
NUM = 60  # draws; the slow tests have 100
LARGE = {
    f"{name} of a large pool": Setting(40_000, 1000, setting.prompt_tokens, setting.max_new_tokens)
    for name, setting in SETTINGS.items()
}

laboratory = cache(lambda name: Laboratory({**SETTINGS, **LARGE}[name]))


@cache
def shares_inside(setting, evaluators, reference, num):
    """Of `num` draws, the share in which each metric of drawn text lies in the interval."""
    found = defaultdict(list)
    lab = laboratory(setting)
    for draw in range(num):
        snapshot = lab.human_draw(draw) if reference == "human" else lab.model_draw(draw)
        for evaluator in evaluators:
            for key, is_inside in inside(evaluator(snapshot), reference).items():
                found[key].append(is_inside)
    return {key: np.array(values) for key, values in found.items()}


def check(setting, evaluators, reference, num):
    found = shares_inside(setting, evaluators, reference, num)
    assert found
    least = {key: binom.ppf(0.001, len(draws), 0.93) for key, draws in found.items()}
    short = {
        key: f"{draws.sum()} of {len(draws)}, at least {least[key]:.0f} expected"
        for key, draws in found.items()
        if draws.sum() < least[key]
    }
    assert not short


def test_every_metric_with_a_reference_is_tested():
    assert {*CHEAP, *DEAR} == TESTED
    dear = shares_inside("prompted and cut", tuple(DEAR.values()), "human", 1)
    cheap = shares_inside("prompted and cut", tuple(CHEAP.values()), "human", NUM)
    of_model_text_alone = {"base_perplexity_as_sampled", "reencoded_share"}
    tested = {metric for metric, _ in (*cheap, *dear)} | of_model_text_alone
    assert tested == {
        metric for name in TESTED for metric, split in MEASURED[name] if split == "drawn"
    }


@pytest.mark.parametrize("name", CHEAP)
def test_held_out_human_text_in_the_place_of_drawn_text_is_not_different(name):
    everything = shares_inside("prompted and cut", tuple(CHEAP.values()), "human", NUM)
    metrics = {metric for metric, split in MEASURED[name] if split == "drawn"}
    found = {key: draws for key, draws in everything.items() if key[0] in metrics}
    assert found
    short = {
        key: int(draws.sum())
        for key, draws in found.items()
        if draws.sum() < binom.ppf(0.001, len(draws), 0.93)
    }
    assert not short


def test_two_draws_of_the_same_model_are_not_different():
    check("cut", tuple(CHEAP.values()), "base", NUM // 3)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("reference", REFERENCES)
def test_nothing_is_different_however_text_is_cut(setting, reference):
    if reference == "base" and setting != "cut":
        pytest.skip("the model of the test writes without prompts and cuts its text")
    check(setting, (*CHEAP.values(), *DEAR.values()), reference, 100)


@pytest.mark.slow
@pytest.mark.parametrize("setting", LARGE)
def test_nothing_is_different_in_a_large_pool(setting):
    check(setting, tuple(CHEAP.values()), "human", 100)


# --- the mirror -----------------------------------------------------------------------------


def narrowed(passages):
    """Half of the documents are replaced by copies of a tenth of them."""
    num = len(passages)
    rows = [i if i % 2 else i % max(num // 10, 1) for i in range(num)]
    return passages.take(rows)


def test_documents_that_repeat_a_tenth_of_themselves_are_found_by_the_metrics_of_diversity():
    lab = laboratory("cut")
    found = defaultdict(list)
    for draw in range(10):
        snapshot = lab.human_draw(draw, narrowed)
        for evaluator in (CHEAP["diversity"], CHEAP["self_bleu"], CHEAP["rare_tokens"]):
            for key, is_inside in inside(evaluator(snapshot), "human").items():
                found[key].append(is_inside)
    for metric in ("repeated_share", "distinct_2", "distinct_3", "self_bleu_4"):
        assert not any(found[metric, ""])


def test_text_of_the_model_at_a_low_temperature_is_found_by_the_metrics_of_likelihood():
    lab = laboratory("cut")
    cold = lambda passages: lab.model.write(len(passages), stream(0, "cold"), 0.7)  # noqa: E731
    for name in ("perplexity", "text_perplexity", "detection", "judge"):
        is_inside = inside(CHEAP[name](lab.human_draw(0, cold)), "human")
        assert not all(is_inside.values())
    snapshot = lab.human_draw(0, cold)
    assert not inside(CHEAP["perplexity"](snapshot), "human")["base_perplexity", ""]
    assert not inside(CHEAP["judge"](snapshot), "human")["judge_perplexity", ""]
