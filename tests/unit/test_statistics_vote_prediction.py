"""How well scores predict votes: against scikit-learn, scipy and votes of a known kind."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from textmad.statistics.vote_prediction import predict_votes


def simulated(num_texts, num_raters, slope, rng, taste=0.0):
    """Three votes a text; `taste`: how far raters differ in how they like each text."""
    score = rng.normal(size=num_texts)
    document = np.repeat(np.arange(num_texts), 3)
    rater = np.concatenate([rng.choice(num_raters, 3, replace=False) for _ in score])
    liking = rng.normal(size=num_raters) * taste
    mark = rng.random(len(document)) < 1 / (1 + np.exp(-slope * score[document] - liking[rater]))
    return score, document, rater, mark.astype(float)


def test_auc_and_correlation_are_those_of_other_libraries():
    rng = np.random.default_rng(0)
    score, document, rater, mark = simulated(60, 8, 1.0, rng)
    score = score.round(1)  # ties
    found = predict_votes(score, document, rater, mark, rng)
    shares = np.bincount(document, mark) / np.bincount(document)
    assert found.auc == pytest.approx(roc_auc_score(mark, score[document]))
    assert found.spearman == pytest.approx(spearmanr(score, shares).statistic)
    assert found.num_votes == 180


def test_a_vote_in_the_middle_counts_half_up_and_half_down():
    score, document = np.array([1.0, 2.0, 3.0]), np.arange(3)
    rng = np.random.default_rng(0)
    found = predict_votes(score, document, np.zeros(3, int), np.array([0.0, 0.5, 1.0]), rng)
    # Pairs of an up and a down, each of weight 1.5: ups 0.5 at 2 and 1 at 3, downs 1 at 1 and 0.5
    # at 2. Wins: 0.5 * 1 + 0.5 * 0.5 / 2 + 1 * 1.5 = 2.125 of 2.25.
    assert found.auc == pytest.approx(2.125 / 2.25)


def test_the_interval_covers_no_association_and_excludes_a_strong_one():
    covered = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found = predict_votes(*simulated(80, 10, 0.0, rng, taste=1.0), rng)
        covered.append(found.auc_low <= 0.5 <= found.auc_high)
        covered.append(found.spearman_low <= 0 <= found.spearman_high)
    assert sum(covered) >= 13  # of 16 at 95 %: fewer have a probability below 1 %
    strong = predict_votes(*simulated(80, 10, 2.0, np.random.default_rng(0)), rng)
    assert strong.auc_low > 0.6
    assert strong.spearman_low > 0.2


def test_equal_votes_or_scores_predict_nothing():
    rng, ones = np.random.default_rng(0), np.ones(3)
    document, rater = np.arange(3), np.zeros(3, int)
    assert predict_votes(np.arange(3.0), document, rater, ones, rng) is None
    assert predict_votes(ones, document, rater, np.array([0.0, 1.0, 1.0]), rng) is None
    assert predict_votes(ones[:0], document[:0], rater[:0], ones[:0], rng) is None
