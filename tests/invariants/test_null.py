"""The null test: text that does not differ from a reference is not called different.

Drawn text is replaced by held-out human text, and each metric has to lie in the human interval.
Text of the base model is compared with other text of it. Every evaluator that has a reference is
here (`test_every_metric_with_a_reference_is_tested`), so a new one cannot be forgotten. The mirror:
a planted difference is found, for each metric one.

The intervals promise 95 %, and a metric has to lie inside in at least 93 of 100 draws. The draws
are independent given the pool and the held-out text that they come from, so what is counted is
binomial: a share of 100 draws has a standard error of 2 %. So the slow tests look three times, at
100, 300 and 1,000 draws, and no further than to the first share of at least 93 %. An interval of
95 % fails that in fewer than 1 of 1,000 cases, one of 94 % in 3 of 100; one of 90 % passes in 22 of
100, and in all four ways to cut and prompt in 2 of 1,000
(`test_an_interval_of_95_percent_passes_and_one_of_90_fails`).

The tests that are always run have 60 draws. They fail where so few inside have a probability
below 0.001 if the true rate is 93 %.
"""

from collections import defaultdict
from dataclasses import replace
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
    Length,
    Memorisation,
    NgramGap,
    Perplexity,
    RareTokens,
    SelfBleu,
    TextPerplexity,
)
from textmad.evaluators.held_out import reference_passages
from textmad.evaluators.metrics import MEASURED
from textmad.evaluators.protocol import REFERENCES
from textmad.seeds import stream
from textmad.text.passages import Passages

# N-grams so short that texts cut at a few words have some.
CHEAP = {
    "perplexity": Perplexity(held_out_tokens=10),
    "diversity": Diversity(overlap_words=3),
    "rare_tokens": RareTokens(held_out_tokens=10),
    "text_perplexity": TextPerplexity(),
    "ngram_gap": NgramGap(),
    "self_bleu": SelfBleu(),
    "length": Length(),
    "memorisation": Memorisation(ngram_words=(2, 4)),
    "detection": Detection(("curvature", "cross_perplexity")),
    "judge": Judge("bigrams"),
}
# Two seconds a draw each: under the base model's vectors, a sentence encoder's, and a trained
# classifier.
DEAR = {
    "embedding": Embedding(),
    "embedding by an encoder": Embedding(encoder="tiny"),
    "detection by training": Detection(("trained",)),
}
EVALUATORS = {**CHEAP, **DEAR}
TESTED = {name for name, of in MEASURED.items() if any(s in REFERENCES for _, s in of)} - {
    "facts"  # asks questions, and compares no text: its base split is the base model's answers
}
METRICS_OF_DRAWN = {m for name in TESTED for m, split in MEASURED[name] if split == "drawn"}
OF_MODEL_TEXT = {"base_perplexity_as_sampled", "reencoded_share"}  # alone: human text has none
NUM, SURE = 60, 0.001  # draws of the tests that are always run
LOOKS = 100, 300, 1000  # draws of the slow ones
LEAST = 0.93
LARGE = {
    f"{name} of a large pool": Setting(40_000, 300, setting.prompt_tokens, setting.max_new_tokens)
    for name, setting in SETTINGS.items()
}

laboratory = cache(lambda name: Laboratory({**SETTINGS, **LARGE}[name]))


@cache
def draws_inside(setting, names, reference, first, last):
    """Whether each metric of drawn text lies in the reference's interval, by evaluator and draw.

    The evaluators share their snapshots, which take most of the time.
    """
    lab, found = laboratory(setting), {name: [] for name in names}
    for draw in range(first, last):
        snapshot = lab.human_draw(draw) if reference == "human" else lab.model_draw(draw)
        for name in names:
            found[name].append(inside(EVALUATORS[name](snapshot), reference))
    return found


def by_metric(draws):
    """The same by metric and bin, as arrays; a draw without a value is left out."""
    found = defaultdict(list)
    for draw in draws:
        for key, is_inside in draw.items():
            found[key].append(is_inside)
    return {key: np.array(values) for key, values in found.items()}


def few_draws(setting, name, reference, num):
    names = (name,) if reference == "human" else tuple(CHEAP)
    return by_metric(draws_inside(setting, names, reference, 0, num)[name])


def too_few(found):
    """The metrics that lie inside too seldom, with their numbers."""
    return {
        key: f"{draws.sum()} of {len(draws)}"
        for key, draws in found.items()
        if binom.cdf(draws.sum(), len(draws), LEAST) < SURE
    }


def seldom_inside(setting, name, reference):
    """The metrics that lie inside in less than 93 % at each look, with their numbers.

    All numbers are printed: `pytest -m slow -rP` shows them.
    """
    beside = tuple(CHEAP if name in CHEAP else DEAR)
    draws = list(draws_inside(setting, beside, reference, 0, LOOKS[0])[name])
    passed, seldom = {}, {}
    for num in LOOKS:
        if num > len(draws):
            draws += draws_inside(setting, (name,), reference, len(draws), num)[name]
        shares = {key: f"{d.sum()} of {len(d)}" for key, d in by_metric(draws).items()}
        means = {key: d.mean() for key, d in by_metric(draws).items()}
        seldom = {key: shares[key] for key in means if means[key] < LEAST and key not in passed}
        passed |= {key: shares[key] for key in means if key not in seldom and key not in passed}
        if not seldom:
            break
    for (metric, bin_), share in (passed | seldom).items():
        print(f"{setting}, {reference}: {metric} {bin_}: {share}")
    return seldom


def num_of(name):
    """Draws of the tests that are always run."""
    return NUM if name in CHEAP else 1


def test_every_metric_with_a_reference_is_tested():
    assert {name.split(" by ")[0] for name in EVALUATORS} == TESTED
    found = {
        metric
        for name in EVALUATORS
        for metric, _ in few_draws("prompted and cut", name, "human", num_of(name))
    }
    assert found == METRICS_OF_DRAWN - OF_MODEL_TEXT
    of_model = {metric for metric, _ in few_draws("cut", "perplexity", "base", NUM // 3)}
    assert of_model >= OF_MODEL_TEXT


def test_an_interval_of_95_percent_passes_and_one_of_90_fails():
    """The probability to be at 93 % at one of the looks at least."""

    def passes(rate):
        passed, so_far, before = 0.0, np.ones(1), 0  # so_far[k]: not passed yet, k draws inside
        for num in LOOKS:
            new = np.arange(num - before + 1)
            so_far = np.convolve(so_far, binom.pmf(new, num - before, rate))
            least = round(LEAST * num)
            passed += so_far[least:].sum()
            so_far[least:], before = 0, num
        return passed

    assert passes(0.95) > 0.999
    assert passes(0.94) > 0.97
    assert passes(0.9) < 0.23
    assert passes(0.9) ** len(SETTINGS) < 0.003
    assert passes(0.85) < 0.02


@pytest.mark.parametrize("name", CHEAP)
def test_held_out_human_text_in_the_place_of_drawn_text_is_not_different(name):
    assert not too_few(few_draws("prompted and cut", name, "human", NUM))


@pytest.mark.parametrize("name", CHEAP)
def test_two_draws_of_the_same_model_are_not_different(name):
    assert not too_few(few_draws("cut", name, "base", NUM // 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_nothing_is_different_however_text_is_cut(setting, name):
    assert not seldom_inside(setting, name, "human")


@pytest.mark.slow
@pytest.mark.parametrize("name", EVALUATORS)
def test_nothing_is_different_between_many_draws_of_the_same_model(name):
    # The model of the test writes without prompts and cuts its text.
    assert not seldom_inside("cut", name, "base")


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("setting", LARGE)
def test_nothing_is_different_in_a_large_pool(setting, name):
    assert not seldom_inside(setting, name, "human")


# --- the mirror -----------------------------------------------------------------------------


def narrowed(lab, passages):
    """Half of the documents are replaced by copies of a tenth of them."""
    num = len(passages)
    rows = [i if i % 2 else i % max(num // 10, 1) for i in range(num)]
    return passages.take(rows)


def cold(lab, passages):
    """Text of the model at half the temperature."""
    return lab.model.write(len(passages), stream(0, "cold"), 0.5)


def learned(lab, passages):
    """Documents that the model has learned."""
    texts = list(lab.blank.training["text"][: 4 * len(passages)])
    return lab.blank.as_sampled(texts).take(range(len(passages)))


def shuffled(lab, passages):
    """The same words in another order, over all documents of the same lengths."""
    words = [word for text in passages.texts for word in text.split()]
    words = [words[i] for i in stream(0, "shuffled").permutation(len(words))]
    lengths = [len(text.split()) for text in passages.texts]
    parts = np.split(words, np.cumsum(lengths)[:-1])
    texts = [" ".join(part) for part in parts]
    return Passages(tuple(texts), passages.prompts, passages.finished)


def one_text(lab, passages):
    """A tenth of the documents, each ten times."""
    return passages.take([i % max(len(passages) // 10, 1) for i in range(len(passages))])


def stuttered(lab, passages):
    """Each document repeats its first word."""
    texts = [" ".join([*text.split()[:1]] * len(text.split())) for text in passages.texts]
    return Passages(tuple(texts), passages.prompts, passages.finished)


def doubled(lab, passages):
    """Each document says everything twice."""
    texts = [f"{text} {text}" for text in passages.texts]
    return Passages(tuple(texts), passages.prompts, passages.finished)


def alike(lab, passages):
    """One document, again and again."""
    return passages.take([0] * len(passages))


# The difference that each metric finds, and the setting. Texts cut at six words hardly have a word
# triple in common with other text, so that of ngram_gap_3 is whole.
PLANTED = {
    (
        narrowed,
        "cut",
    ): "distinct_1 distinct_2 distinct_3 distinct_4 entropy_1 entropy_2 hdd zipf_exponent "
    "compression_ratio repeated_share self_bleu_2 self_bleu_3 self_bleu_4",
    (
        cold,
        "cut",
    ): "base_perplexity mattr heaps_exponent rare_rate surviving_rare_types unseen_mass "
    "text_perplexity detection_auc judge_perplexity vendi_score",
    (learned, "cut"): "overlap memorised_ngrams memorised_documents",
    (shuffled, "cut"): "ngram_gap_2",
    (shuffled, "whole"): "ngram_gap_3",
    (one_text, "cut"): "ngram_gap_1 embedding_recall embedding_coverage",
    (stuttered, "cut"): "mtld embedding_precision embedding_density",
    (alike, "cut"): "mauve",
    (alike, "whole"): "length_entropy",
    (doubled, "whole"): "mean_length",
}


def test_every_metric_has_a_planted_difference():
    planted = [metric for metrics in PLANTED.values() for metric in metrics.split()]
    assert set(planted) == METRICS_OF_DRAWN - OF_MODEL_TEXT
    assert len(set(planted)) == len(planted)


@cache
def changed(change, setting, draw):
    lab = laboratory(setting)
    return lab.human_draw(draw, lambda passages: change(lab, passages))


@pytest.mark.parametrize("name", EVALUATORS)
def test_a_planted_difference_is_found_by_every_metric(name):
    """In each of three draws; a bin or method that sees it is enough (a quantile, 2 or 4 words)."""
    evaluator = EVALUATORS[name]
    own = {metric for metric, split in MEASURED[name.split(" by ")[0]] if split == "drawn"}
    for (change, setting), metrics in PLANTED.items():
        asked = own & set(metrics.split())
        missed = set()
        for draw in range(3) if asked else ():
            found = defaultdict(list)
            for (metric, _), is_inside in inside(
                evaluator(changed(change, setting, draw)), "human"
            ).items():
                found[metric].append(is_inside)
            missed |= {metric for metric in asked if all(found[metric])}
        assert not missed, change.__doc__


def test_triples_of_a_twentieth_of_copied_documents_are_found():
    """Texts of six words have 0.6 triples in common; 3 of 60 copies bring up to 12 more.

    They were found in 58 of 60 draws.
    """
    found = []
    for draw in range(20):
        snapshot = laboratory("prompted and cut").human_draw(draw)
        copied = reference_passages(snapshot, 2 * snapshot.num_documents).texts[:3]
        texts = snapshot.texts | {"drawn": [*copied, *snapshot.texts["drawn"][3:]]}
        measured = EVALUATORS["ngram_gap"](replace(snapshot, texts=texts))
        found.append(not inside(measured, "human")["ngram_gap_3", ""])
    assert sum(found) >= 17
