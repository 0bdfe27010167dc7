"""Each loop of the literature as a mixture, every document followed to where it came from.

Unless a test says otherwise each document has 10 tokens, so budgets are counted in tens.
"""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from textmad.errors import CorpusError, CurationError
from textmad.mixture import (
    CrawlBudget,
    Mixture,
    check_human_tokens,
    crawl_budget,
    human_tokens_needed,
    mix,
    model_tokens_drawn,
    take_human_documents,
    training_tokens,
)
from textmad.recipe import CrawlSettings, MixSettings, SampleSettings
from textmad.text.documents import HUMAN, MODEL, documents


def human_pool(num_documents=40, tokens=10):
    ids = [f"human-{i}" for i in range(num_documents)]
    return documents({"id": ids, "text": ids, "tokens": [tokens] * num_documents})


def kept_of(generation, num_documents=12, tokens=10):
    ids = [f"g{generation}-{i}" for i in range(num_documents)]
    return documents(
        {
            "id": ids,
            "text": ids,
            "origin": [MODEL] * num_documents,
            "generation": [generation] * num_documents,
            "tokens": [tokens] * num_documents,
            "kept": [True] * num_documents,  # candidates carry more columns than the schema
            "score": [0.5] * num_documents,
        }
    )


def run(settings, generations, pool=None, seed=0) -> list[Mixture]:
    """The mixtures of generations 0 to `generations`."""
    pool = human_pool() if pool is None else pool
    kept = [kept_of(g) for g in range(generations)]
    return [mix(settings, g, pool, kept[:g], seed) for g in range(generations + 1)]


def human_ids(mixture):
    return [d["id"] for d in mixture.documents if d["origin"] == HUMAN]


def model_ids(mixture, generation=None):
    return [
        d["id"]
        for d in mixture.documents
        if d["origin"] == MODEL and generation in (None, d["generation"])
    ]


def sources(mixture):
    """How many documents are of which generation; -1 is human."""
    return dict(Counter(mixture.documents["generation"]))


def test_fully_synthetic_learns_from_nothing_but_the_generation_before():
    mixtures = run(MixSettings(human_tokens=0, model_tokens=50, model="latest"), 3)
    assert [sources(m) for m in mixtures] == [{-1: 5}, {0: 5}, {1: 5}, {2: 5}]


def test_augmentation_adds_the_same_human_documents_to_the_generation_before():
    mixtures = run(MixSettings(human_tokens=30, model_tokens=50, human="fixed"), 3)
    assert [sources(m) for m in mixtures] == [{-1: 8}, {-1: 3, 0: 5}, {-1: 3, 1: 5}, {-1: 3, 2: 5}]
    first = human_ids(mixtures[1])
    assert human_ids(mixtures[2]) == first
    assert human_ids(mixtures[3]) == first
    assert human_ids(mixtures[0])[:3] == first


def test_fresh_data_adds_human_documents_that_no_generation_has_seen():
    mixtures = run(MixSettings(human_tokens=30, model_tokens=50, human="fresh"), 3)
    assert [sources(m) for m in mixtures] == [{-1: 8}, {-1: 3, 0: 5}, {-1: 3, 1: 5}, {-1: 3, 2: 5}]
    seen = [name for mixture in mixtures for name in human_ids(mixture)]
    assert len(seen) == len(set(seen)) == 8 + 3 * 3


def test_accumulate_keeps_all_earlier_documents_and_grows():
    mixtures = run(MixSettings(human_tokens=30, model_tokens=50, human="fixed", model="all"), 3)
    assert [sources(m) for m in mixtures] == [
        {-1: 8},
        {-1: 3, 0: 5},
        {-1: 3, 0: 5, 1: 5},
        {-1: 3, 0: 5, 1: 5, 2: 5},
    ]
    for earlier, later in pairwise(mixtures):
        assert set(model_ids(earlier)) < set(model_ids(later))


def test_a_pool_of_model_text_fills_one_budget_from_all_earlier_generations():
    mixtures = run(MixSettings(human_tokens=30, model_tokens=90, human="fixed", model="pool"), 4)
    assert [len(model_ids(m)) for m in mixtures] == [0, 9, 9, 9, 9]
    # 9 of 48 documents, 12 of each generation: with this seed each generation is met.
    assert set(sources(mixtures[4])) == {-1, 0, 1, 2, 3}
    assert set(model_ids(mixtures[3])) != set(model_ids(mixtures[4]))


def subsample(num_human, num_model, **changes):
    """Accumulate documents of 10 tokens, and learn from a sample of as many as there are first."""
    given = {
        "human_tokens": 10 * num_human,
        "model_tokens": 10 * num_model,
        "model": "all",
        "subsample_tokens": 10 * (num_human + num_model),
        **changes,
    }
    return MixSettings(**given)


def test_accumulate_subsample_samples_human_and_model_text_together():
    settings = subsample(10, 10)
    mixtures = run(settings, 4)
    assert [m.human_documents + m.model_documents for m in mixtures] == [20] * 5
    # Generation 1 has no more than it learns; later ones choose among all that accumulates.
    accumulated = run(settings.model_copy(update={"subsample_tokens": None}), 4)
    assert mixtures[1].documents["id"][:] == accumulated[1].documents["id"][:]
    for mixture, everything in zip(mixtures[1:], accumulated[1:], strict=True):
        chosen, there = mixture.documents["id"][:], everything.documents["id"][:]
        assert len(set(chosen)) == len(chosen)
        assert [name for name in there if name in set(chosen)] == chosen  # in the same order
        assert mixture.documents["tokens"][:] == [10] * 20
        assert (
            mixture.documents["origin"][:]
            == [HUMAN] * mixture.human_documents + [MODEL] * mixture.model_documents
        )
    assert len({tuple(m.documents["id"][:]) for m in mixtures}) == 5  # each one samples anew
    assert [m.counts() for m in run(settings, 4)] == [m.counts() for m in mixtures]
    assert [m.counts() for m in run(settings, 4, seed=1)] != [m.counts() for m in mixtures]


def test_a_subsample_of_crawled_and_of_fresh_text_is_a_subsample_too():
    fresh = run(subsample(5, 10, human="fresh"), 3)
    assert [len(m.documents) for m in fresh] == [15] * 4
    crawled = human_pool(4).add_column("true_origin", [HUMAN, MODEL, MODEL, HUMAN])
    mixture = mix(subsample(4, 2, subsample_tokens=30), 1, human_pool(), [kept_of(0)], 0, crawled)
    learned = set(human_ids(mixture))
    assert len(mixture.documents) == 3
    assert mixture.unlabelled_model_tokens == 10 * len(learned & set(crawled["id"][1:3]))


class Chain(NamedTuple):
    """A Gaussian that is refitted on the mixture of each generation."""

    human_documents: list[int]
    errors: list[float]  # squared error of the mean, in units of 1 / documents of a generation


def chain(settings, num_documents, generations, seed, num_positions=1000):
    """Refit on `mix`: a document is one draw from each of many standard normal distributions."""
    rng = np.random.default_rng(seed)
    pool, kept, mixtures, errors = human_pool(2 * num_documents), [], [], []
    values = {name: rng.standard_normal(num_positions) for name in pool["id"]}
    for g in range(generations + 1):
        mixtures.append(mix(settings, g, pool, kept, seed))
        learned = np.stack([values[name] for name in mixtures[-1].documents["id"]])
        mean, deviation = learned.mean(axis=0), learned.std(axis=0, ddof=1)
        errors.append(num_documents * (mean**2).mean())
        kept.append(kept_of(g, num_documents))
        noise = rng.standard_normal((num_documents, num_positions))
        values |= zip(kept[-1]["id"], mean + deviation * noise, strict=True)
    return Chain([m.human_documents for m in mixtures], errors)


@pytest.fixture(scope="module")
def subsample_chains():
    return [chain(subsample(10, 10), 10, 5, seed) for seed in range(16)]


def expected_subsample_error(draws, generation):
    """Return the same of accumulate-subsample (Kazdan et al. 2410.16713), exactly.

    A pool of N documents with mean P and variance S^2 has a sample of n without replacement whose
    mean has the second moment E[P^2] + E[S^2] (1/n - 1/N), and whose variance has the mean S^2. The
    pool's own moments follow from those of what each generation adds.
    """
    n = 2 * draws
    # Generation 0 learns from n human documents, and `draws` of them stay in the pool.
    error, spread, mean_squared, with_pool = 1 / n, 1.0, 1 / draws, 1 / n
    squares = draws * 1.0  # of all the pool's values
    for g in range(1, generation + 1):
        added = error + spread / draws  # second moment of the mean of what is added
        mean_squared = (g**2 * mean_squared + 2 * g * with_pool + added) / (g + 1) ** 2
        squares += draws * (spread + error)
        size = draws * (g + 1)
        spread = (squares - size * mean_squared) / (size - 1)
        error = mean_squared + spread * (1 / n - 1 / size)
        with_pool = mean_squared  # given the pool, its mean is expected of the sample's
    return draws * error


def test_a_mean_refitted_on_a_subsample_drifts_as_theory_says(subsample_chains):
    # With many documents: 1.48 at generation 5, where accumulation has 7/8 + 1/9 + ... + 1/36.
    assert expected_subsample_error(10**6, 5) == pytest.approx(1.478, abs=5e-4)
    accumulated = 7 / 8 + sum(1 / (g + 1) ** 2 for g in range(2, 6))
    assert accumulated == pytest.approx(1.116, abs=5e-4)
    errors = np.array([each.errors for each in subsample_chains])
    for g, values in enumerate(errors.T):
        standard_error = values.std(ddof=1) / np.sqrt(len(values))
        # t with 15 degrees of freedom is beyond 5 in less than 1 of 5,000.
        assert abs(values.mean() - expected_subsample_error(10, g)) < 5 * standard_error < 0.2


def test_the_human_share_of_a_subsample_shrinks_as_model_text_accumulates(subsample_chains):
    # Of 10 human documents and 10 of each of g generations 20 are chosen: hypergeometric.
    human = np.array([each.human_documents for each in subsample_chains])
    for g in range(1, 6):
        pool, share = 10 * (g + 1), 1 / (g + 1)
        variance = 20 * share * (1 - share) * (pool - 20) / (pool - 1)
        # Within 4 standard errors: by chance not so in less than 1 of 10,000.
        assert abs(human[:, g].mean() - 20 * share) <= 4 * np.sqrt(variance / len(human))


def test_a_fixed_human_half_beside_a_pool_of_model_text_does_not_drift_so_far(subsample_chains):
    # What was called accumulate-subsample before: its mean is as good as accumulation's.
    pool = subsample(10, 10, model="pool", subsample_tokens=None)
    last = [chain(pool, 10, 5, seed).errors[-1] for seed in range(6)]
    standard_error = np.std(last, ddof=1) / np.sqrt(len(last))
    assert np.mean(last) + 5 * standard_error < expected_subsample_error(10, 5)


def test_human_only_is_a_loop_without_model_text():
    mixtures = run(MixSettings(human_tokens=50, model_tokens=0, human="fresh"), 3)
    assert [sources(m) for m in mixtures] == [{-1: 5}] * 4


def test_with_one_earlier_generation_the_three_ways_to_choose_model_text_agree():
    ways = ("latest", "pool", "all")
    firsts = [run(MixSettings(model_tokens=50, model=way), 1)[1] for way in ways]
    assert model_ids(firsts[0]) == model_ids(firsts[1]) == model_ids(firsts[2])


@pytest.mark.parametrize("human", ["fixed", "fresh"])
@pytest.mark.parametrize("model", ["latest", "pool", "all"])
def test_no_document_is_twice_in_a_mixture_and_no_budget_is_missed(human, model):
    random = np.random.default_rng(5)
    pool = documents({"text": [f"h{i}" for i in range(400)], "tokens": random.integers(1, 40, 400)})
    kept = []
    for g in range(4):
        table = kept_of(g, 100).remove_columns("tokens")
        kept.append(table.add_column("tokens", random.integers(1, 40, 100).astype(np.int32)))
    settings = MixSettings(human_tokens=505, model_tokens=703, human=human, model=model)
    for g in range(5):
        mixture = mix(settings, g, pool, kept[:g], seed=1)
        assert len(set(mixture.documents["id"])) == len(mixture.documents)
        num_sources = g if model == "all" else 1
        human_budget = 505 if g else 505 + 703
        model_budget = 703 * num_sources if g else 0
        assert human_budget <= mixture.human_tokens < human_budget + 39
        assert model_budget <= mixture.model_tokens <= model_budget + 38 * num_sources
        assert sum(mixture.documents["tokens"]) == mixture.human_tokens + mixture.model_tokens
        assert len(human_ids(mixture)) == mixture.human_documents
        assert len(model_ids(mixture)) == mixture.model_documents


def test_a_budget_is_reached_by_the_fewest_whole_documents():
    assert run(MixSettings(model_tokens=40), 1)[1].counts() == {
        "human_tokens": 0,
        "model_tokens": 40,
        "human_documents": 0,
        "model_documents": 4,
    }
    assert run(MixSettings(model_tokens=41), 1)[1].model_tokens == 50


def test_the_seed_alone_decides_which_documents_are_taken():
    settings = MixSettings(human_tokens=50, model_tokens=50, human="fresh")
    again = [m.documents["id"][:] for m in run(settings, 2)]
    assert [m.documents["id"][:] for m in run(settings, 2)] == again
    others = [m.documents["id"][:] for m in run(settings, 2, seed=1)]
    assert all(a != b for a, b in zip(again, others, strict=True))


def test_a_mixture_has_the_columns_of_the_schema_and_human_documents_first():
    mixture = run(MixSettings(human_tokens=20, model_tokens=20), 1)[1]
    assert "score" not in mixture.documents.column_names
    assert mixture.documents["origin"][:] == [HUMAN, HUMAN, MODEL, MODEL]


def test_too_little_human_text_for_generation_0_says_have_and_need():
    with pytest.raises(CorpusError) as caught:
        mix(MixSettings(human_tokens=300, model_tokens=150), 0, human_pool(), [], 0)
    assert str(caught.value) == (
        "mix.human_tokens + mix.model_tokens: generation 0 learns from human text only and needs "
        "450 tokens, the pool holds 400: lower it, or give a larger corpus"
    )


def test_too_little_human_text_for_a_subsample_names_the_setting_that_needs_it():
    few = human_pool(6)
    with pytest.raises(CorpusError, match=r"^mix.subsample_tokens: generation 0 .* needs 80 tok"):
        mix(subsample(3, 5), 0, few, [], 0)
    short = subsample(8, 5, subsample_tokens=50)
    with pytest.raises(CorpusError, match=r"^mix.human_tokens: generation 1 needs 80 tokens, the"):
        mix(short, 1, few, [kept_of(0)], 0)


def test_too_little_fresh_human_text_says_what_is_left_and_what_to_change():
    settings = MixSettings(human_tokens=1000, model_tokens=500, human="fresh")
    pool = human_pool(num_documents=30, tokens=100)  # 1,500 at first, 1,000 at generation 1
    kept = [kept_of(g, tokens=100) for g in range(2)]
    assert mix(settings, 1, pool, kept[:1], 0).human_tokens == 1000
    with pytest.raises(CorpusError) as caught:
        mix(settings, 2, pool, kept, 0)
    assert str(caught.value) == (
        "mix.human_tokens: generation 2 needs 1,000 tokens of fresh human text, 500 are left of "
        "the pool's 3,000: lower mix.human_tokens or generations, set human: fixed, or give a "
        "larger corpus"
    )


@pytest.mark.parametrize(
    ("model", "source", "have", "times"),
    [  # 250 needed, and a tenth more for chance
        ("latest", "generation 1", 120, 2.3),
        ("pool", "generations 0 to 1", 240, 1.2),
        ("all", "generation 0", 120, 2.3),
    ],
)
def test_too_little_kept_text_says_where_it_is_missing_and_what_to_change(
    model, source, have, times
):
    settings = MixSettings(model_tokens=250, model=model)
    with pytest.raises(CurationError) as caught:
        mix(settings, 2, human_pool(), [kept_of(0), kept_of(1)], 0)
    assert str(caught.value) == (
        f"mix.model_tokens: generation 2 needs 250 tokens of kept text of {source}, {have} are "
        f"there: raise sample.oversample until {times} times as many tokens are sampled, and the "
        "run goes on from here; or keep more in curate, or lower mix.model_tokens"
    )


def test_nothing_kept_is_a_shortage_too():
    with pytest.raises(CurationError, match="generation 0, 0 are there"):
        mix(MixSettings(model_tokens=10), 1, human_pool(), [kept_of(0, 0)], 0)


def test_the_plan_counts_the_human_tokens_that_the_run_takes():
    fresh = MixSettings(human_tokens=30, model_tokens=50, human="fresh")
    taken = sum(mixture.human_tokens for mixture in run(fresh, 3))
    assert human_tokens_needed(fresh, 3) == taken == 80 + 3 * 30
    fixed = MixSettings(human_tokens=30, model_tokens=50)
    assert human_tokens_needed(fixed, 3) == 80


@pytest.mark.parametrize("model", ["latest", "pool", "all"])
def test_the_plan_counts_the_training_tokens_of_each_generation(model):
    settings = MixSettings(human_tokens=30, model_tokens=50, model=model)
    realised = [m.human_tokens + m.model_tokens for m in run(settings, 3)]
    assert [training_tokens(settings, g) for g in range(4)] == realised
    assert realised == ([80, 80, 130, 180] if model == "all" else [80] * 4)


def test_the_plan_counts_the_training_tokens_of_a_subsample():
    settings = subsample(3, 5)
    assert [training_tokens(settings, g) for g in range(4)] == [80] * 4
    smaller = subsample(8, 5, subsample_tokens=50)  # generation 0 learns 50, too
    assert [training_tokens(smaller, g) for g in range(4)] == [50] * 4
    assert [len(m.documents) for m in run(smaller, 3)] == [5] * 4
    assert human_tokens_needed(smaller, 3) == 80
    assert human_tokens_needed(smaller, 0) == 50


def test_a_generation_draws_what_the_mixture_needs_and_never_less_than_is_compared():
    sample = SampleSettings(oversample=2.5, min_tokens=1000)
    assert model_tokens_drawn(MixSettings(model_tokens=501), sample) == 1253  # 1252.5 rounded up
    exact = SampleSettings(oversample=1.1)  # 1.1 * 30,000 is 33000.000000000004 in floats
    assert model_tokens_drawn(MixSettings(model_tokens=30_000), exact) == 33_000
    assert model_tokens_drawn(MixSettings(model_tokens=10), sample) == 1000
    assert model_tokens_drawn(MixSettings(human_tokens=10, model_tokens=0), sample) == 1000


# --- where human text is crawled ------------------------------------------------------------

CRAWL = CrawlSettings(contamination=0.25, oversample=2.0)


def test_a_crawl_is_filled_from_both_sides_by_tokens():
    settings = MixSettings(human_tokens=60, model_tokens=50)
    assert crawl_budget(settings, CRAWL) == CrawlBudget(human=90, model=30)
    # 1.1 x 30,000 is 33,000, and no share of a token is lost between the two.
    odd = CrawlSettings(contamination=1 / 3, oversample=1.1)
    assert crawl_budget(MixSettings(human_tokens=30_000), odd) == CrawlBudget(22_000, 11_000)


@pytest.mark.parametrize("human", ["fixed", "fresh"])
def test_a_crawl_finds_human_text_that_generation_0_did_not_learn(human):
    settings = MixSettings(human_tokens=60, model_tokens=50, human=human)
    pool = human_pool()
    parts = [take_human_documents(settings, g, pool, 0, CRAWL)["id"][:] for g in range(4)]
    assert [len(part) for part in parts] == [11, 9, 9, 9]
    assert parts[0] == mix(settings, 0, pool, [], 0).documents["id"][:]
    taken = {name for part in parts for name in part}
    if human == "fixed":
        assert parts[1] == parts[2] == parts[3]
        assert len(taken) == 11 + 9
    else:
        assert len(taken) == 11 + 3 * 9
    assert human_tokens_needed(settings, 3, CRAWL) == 10 * len(taken)
    assert human_tokens_needed(settings, 0, CRAWL) == 110


def test_a_pool_that_cannot_last_says_that_less_may_be_crawled():
    settings = MixSettings(human_tokens=200, model_tokens=50)
    with pytest.raises(CorpusError) as caught:
        check_human_tokens(settings, 3, human_pool(), CRAWL)
    assert str(caught.value) == (
        "corpus: 400 tokens are in the human training pool, and the recipe needs 550 up to "
        "generation 3: lower crawl.oversample, mix.human_tokens, mix.model_tokens or generations, "
        "or give a larger corpus"
    )
    with pytest.raises(CorpusError) as caught:
        take_human_documents(settings, 1, human_pool(), 0, CRAWL)
    assert str(caught.value) == (
        "mix.human_tokens: generation 1 needs 300 tokens of uncrawled human text, 150 are left of "
        "the pool's 400: lower crawl.oversample, mix.human_tokens or generations, or give a "
        "larger corpus"
    )


def test_a_generation_draws_what_is_posted_without_a_label_too():
    sample = SampleSettings(oversample=3.0, min_tokens=10)
    settings = MixSettings(human_tokens=60, model_tokens=50)
    assert model_tokens_drawn(settings, sample, CRAWL) == 3 * (50 + 30)
    human_only = MixSettings(human_tokens=60, model_tokens=0)
    assert model_tokens_drawn(human_only, sample, CRAWL) == 3 * 30


def test_a_crawled_part_counts_as_human_and_is_told_apart_in_the_counts_alone():
    crawled = human_pool(4).add_column("true_origin", [HUMAN, MODEL, MODEL, HUMAN])
    mixture = mix(
        MixSettings(human_tokens=40, model_tokens=20), 1, human_pool(), [kept_of(0)], 0, crawled
    )
    assert mixture.counts() == {
        "human_tokens": 40,
        "model_tokens": 20,
        "human_documents": 4,
        "model_documents": 2,
        "unlabelled_model_tokens": 20,
    }
    assert human_ids(mixture) == crawled["id"][:]
    assert "true_origin" not in mixture.documents.column_names
