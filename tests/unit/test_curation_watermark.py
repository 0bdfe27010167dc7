"""Recognising a watermark: against transformers' detectors, by hand, and its false alarms."""

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from transformers import (
    GPT2Config,
    SynthIDTextWatermarkingConfig,
    WatermarkDetector,
    WatermarkingConfig,
)

from textmad.curation import Context, Watermark
from textmad.recipe.watermark_schemes import Tournament, green_lists
from textmad.text.documents import documents

KEY, END, VOCABULARY = 15_485_863, 99, 100


def judge(filter_, ids):
    """The verdicts on texts that the tokenizer reads as these ids."""
    nothing = documents({"text": []})

    def encode(texts):
        return [np.array([*map(int, text.split()), END], np.int32) for text in texts]

    def none(texts):
        raise AssertionError("not asked for")

    rng = np.random.default_rng(0)
    context = Context(0, rng, nothing, lambda g: nothing, none, none, encode, VOCABULARY)
    return filter_(documents({"text": [" ".join(map(str, one)) for one in ids]}), context)


def random_texts(num, below=VOCABULARY - 1, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, below, rng.integers(6, 60)).tolist() for _ in range(num)]


@pytest.mark.parametrize(("key", "share"), [(KEY, 0.25), (11, 0.5)])
def test_z_of_green_lists_is_that_of_transformers_detector(key, share):
    texts = random_texts(20) + random_texts(20, below=4)  # the latter repeat themselves
    config = WatermarkingConfig(hashing_key=key, greenlist_ratio=share)
    model = GPT2Config(vocab_size=VOCABULARY, bos_token_id=END, eos_token_id=END)
    detector = WatermarkDetector(model, "cpu", config, ignore_repeated_ngrams=True)
    expected = [float(detector(torch.tensor([one]), return_dict=True).z_score[0]) for one in texts]
    verdicts = judge(Watermark(key=key, green_share=share), texts)
    assert verdicts.score == pytest.approx(expected)


@pytest.mark.parametrize(("depth", "context"), [(30, 4), (5, 1)])
def test_z_of_synthid_is_the_weighted_mean_of_transformers_g_values(depth, context):
    texts = random_texts(20) + random_texts(20, below=3)
    tournament = Tournament(KEY, depth, context)
    config = SynthIDTextWatermarkingConfig(ngram_len=context + 1, keys=tournament.keys)
    processor = config.construct_processor(VOCABULARY, torch.device("cpu"))
    ones = processor.sampling_table.double().mean().item()
    weights = np.linspace(10, 1, depth)
    expected = []
    for one in texts:
        ids = torch.tensor([one])
        first = processor.compute_context_repetition_mask(ids)[0].bool().numpy()
        values = processor.compute_g_values(ids)[0].numpy()[first]
        # Of n sums of weights, each with or without: mean and variance of independent coins.
        deviation = np.sqrt(len(values) * ones * (1 - ones) * (weights**2).sum())
        expected.append(((values - ones) @ weights).sum() / deviation)
    verdicts = judge(Watermark(key=KEY, kind="synthid", depth=depth, context=context), texts)
    assert verdicts.score == pytest.approx(expected)
    assert verdicts.columns["watermark_p"] == pytest.approx(norm.sf(expected))


def all_green(num_tokens):
    """Different tokens, each green after the one before it."""
    lists, ids = green_lists(KEY, 0.25, VOCABULARY), [1]
    while len(ids) < num_tokens:
        tokens = np.setdiff1d(np.arange(98), ids)
        green = lists.is_green(np.full(len(tokens), ids[-1]), tokens)
        ids.append(int(tokens[green][0]))
    return ids


def test_a_short_text_is_judged_by_the_binomial_distribution():
    # n pairs, all green: by chance 1/4**n. z is (n - n/4) / sqrt(3n/16) = sqrt(3n).
    verdicts = judge(Watermark(key=KEY), [all_green(4), all_green(5)])
    assert verdicts.columns["watermark_p"] == pytest.approx([1 / 64, 1 / 256])
    assert verdicts.score == pytest.approx([3.0, np.sqrt(12)])
    assert verdicts.keep.tolist() == [True, False]  # one in a hundred is allowed
    assert verdicts.reason[1] == "z 3.5 over 4 tokens"
    # The normal distribution would have rejected both: it gives z 3 only 0.0013.
    assert norm.sf(3.0) < 0.01


def test_what_a_text_repeats_counts_once():
    once, often = all_green(4), all_green(4) * 6
    verdicts = judge(Watermark(key=KEY), [once, often])
    # The repeats add one pair, of the last token and the first.
    green = green_lists(KEY, 0.25, VOCABULARY).is_green(np.array(once[-1:]), np.array(once[:1]))
    assert verdicts.columns["watermark_p"][1] == pytest.approx(binom.sf(3 + green[0] - 1, 4, 0.25))


def test_another_key_or_too_little_text_shows_nothing():
    ids = all_green(30)
    assert not judge(Watermark(key=KEY), [ids]).keep[0]
    assert judge(Watermark(key=KEY + 1), [ids]).keep[0]
    for filter_ in (Watermark(key=KEY), Watermark(key=KEY, kind="synthid")):
        verdicts = judge(filter_, [[], [3], ids])
        assert verdicts.keep[:2].all()
        assert verdicts.score[:2].tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["green_list", "synthid"])
@pytest.mark.parametrize("false_alarms", [0.01, 0.1])
def test_text_without_a_mark_is_rejected_no_more_often_than_asked_for(kind, false_alarms):
    texts = random_texts(3000)
    share = 1 - judge(Watermark(key=3, kind=kind, false_alarms=false_alarms), texts).keep.mean()
    # Four standard deviations; the binomial test may stay below what it is allowed.
    error = 4 * np.sqrt(false_alarms * (1 - false_alarms) / 3000)
    assert share < false_alarms + error
    assert share > (0.3 * false_alarms if kind == "green_list" else false_alarms - error)
