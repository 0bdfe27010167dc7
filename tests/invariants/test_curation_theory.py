"""Curation against exact theory: Ferbach et al., "Self-consuming generative models with curated
data provably optimize human preferences" (2407.09499).

A model is a distribution over 20 texts; the crowd's choice of one in K by Bradley and Terry turns
p into p_K, which tends to p e^r. Here the filters alone; `textmad calibrate` runs them in the loop.
"""

import numpy as np
import pytest
from scipy import stats

from textmad.calibration.theory import (
    NUM_TEXTS,
    REWARD,
    best_of,
    curated,
    distance,
    mean_and_variance,
    reward,
    tilted,
    zipf,
)
from textmad.curation import Author, Choice, Context, Upvotes
from textmad.curation.ranking import add_gumbel_noise, best_of_each
from textmad.text.documents import documents

HUMAN = zipf(NUM_TEXTS)
LIMIT = tilted(HUMAN)


def context(seed):
    nothing = documents({"text": []})
    rng = np.random.default_rng(seed)
    return Context(0, rng, nothing, lambda g: nothing, lambda t: [], lambda t: [], lambda t: [], 1)


def chosen_by(judge, shares, num_documents, seed):
    """How often each text is among those that a filter keeps of a generation's."""
    drawn = np.random.default_rng(seed).choice(NUM_TEXTS, num_documents, p=shares)
    ids = [f"g0-{index}" for index in range(num_documents)]
    keep = judge(documents({"text": [f"w{i}" for i in drawn], "id": ids}), context(seed)).keep
    return np.bincount(drawn[keep], minlength=NUM_TEXTS)


def check_same_distribution(counts, shares):
    common = shares * counts.sum() > 5
    observed = np.append(counts[common], counts[~common].sum())
    expected = np.append(shares[common], shares[~common].sum()) * counts.sum()
    used = expected > 0
    assert stats.chisquare(observed[used], expected[used]).pvalue > 1e-3


FIGURES = [(2, 0.209), (4, 0.140), (16, 0.052), (64, 0.015)]


@pytest.mark.parametrize(("num_drafts", "figure"), FIGURES)
def test_best_of_k_converges_to_p_e_to_the_r(num_drafts, figure):
    exact = best_of(HUMAN, num_drafts)
    assert exact.sum() == pytest.approx(1)
    assert distance(exact, LIMIT) == pytest.approx(figure, abs=0.0015)
    rng = np.random.default_rng(num_drafts)
    num_groups = 1_200_000 // num_drafts
    drawn = rng.choice(NUM_TEXTS, num_groups * num_drafts, p=HUMAN)
    noisy = add_gumbel_noise(REWARD[drawn], 1.0, rng.random(len(drawn)))
    kept = best_of_each(noisy, np.arange(len(drawn)) // num_drafts)
    check_same_distribution(np.bincount(drawn[kept], minlength=NUM_TEXTS), exact)


def author(num_drafts):
    return Author(num_drafts, reward, noise=1.0, units="raw")


def crowd(num_drafts):
    choice = Choice("bradley_terry")
    return Upvotes(
        reward, voters=1, keep=1 / num_drafts, units="raw", rank="quality", choice=choice
    )


@pytest.mark.parametrize("judge", [author, crowd])
@pytest.mark.parametrize("num_drafts", [2, 4, 16])
def test_the_filters_choose_with_the_exact_probabilities(judge, num_drafts):
    counts = chosen_by(judge(num_drafts), HUMAN, 32_000, seed=num_drafts)
    assert counts.sum() == 32_000 // num_drafts
    check_same_distribution(counts, best_of(HUMAN, num_drafts))


@pytest.mark.parametrize("judge", [author, crowd])
@pytest.mark.parametrize(("human_share", "figure"), [(0.0, 0.0), (0.1, 0.58), (0.5, 1.5)])
def test_a_curated_loop_ends_at_the_best_text_unless_human_text_is_mixed_in(
    judge, human_share, figure
):
    simulated = HUMAN
    for generation in range(12):
        counts = chosen_by(judge(4), simulated, 4_000, seed=generation)
        simulated = human_share * HUMAN + (1 - human_share) * counts / counts.sum()
    mean, variance = mean_and_variance(simulated)
    exact_mean, exact_variance = mean_and_variance(curated(human_share, 4, 12))
    assert exact_variance == pytest.approx(figure, abs=0.05)
    # 1,000 texts are learned from in each generation; over seeds the two move by about 0.03.
    assert mean == pytest.approx(exact_mean, abs=0.1)
    assert variance == pytest.approx(exact_variance, abs=0.12)
    if human_share == 0:
        assert mean == pytest.approx(REWARD.max(), abs=0.01)
        assert variance < 0.01
