"""Settings of a crowd are recovered from votes that were cast with known ones."""

import numpy as np
import pytest

from textmad.curation.voters import Crowd, Electorate, sample_voters
from textmad.statistics.crowd_fit import _log_best_logistic, fit_choices, fit_crowd


def cast(values, weights, noise, crowd, num_raters, votes_per_document, seed=0):
    """Votes as the crowd of `upvotes` casts them, one by one: documents, raters and ups."""
    rng = np.random.default_rng(seed)
    quality = values @ weights
    quality = quality / quality.std()
    voters = sample_voters(Electorate(num_raters, np.array(weights), noise, crowd), rng)
    document = np.repeat(np.arange(len(values)), votes_per_document)
    rater = np.concatenate(
        [rng.choice(num_raters, votes_per_document, replace=False) for _ in values]
    )
    perceived = quality[document] + voters.noise[rater] * rng.logistic(size=len(document))
    return document, rater, perceived >= voters.threshold[rater]


def standardised(rng, num, num_scorers):
    values = rng.normal(size=(num, num_scorers))
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_one_generation_without_spread_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    values = standardised(np.random.default_rng(1), 400, 2)
    votes = cast(values, [0.7, -0.3], 0.8, Crowd(strictness=0.4), 10, 3)
    fit = fit_crowd(values, np.zeros(400, int), *votes, np.random.default_rng(0))
    document, _, is_up = votes
    model = LogisticRegression(C=1e9).fit(values[document], is_up)
    (slopes,), (intercept,) = model.coef_, model.intercept_
    scale = (values @ slopes).std()
    # The spread is fitted too; there is none, so it takes nearly nothing of the likelihood.
    assert [each.value for each in fit.weights] == pytest.approx(
        slopes / np.abs(slopes).sum(), abs=0.02
    )
    assert fit.noise.value == pytest.approx(1 / scale, rel=0.05)
    assert fit.strictness.value == pytest.approx(-intercept / scale, abs=0.03)
    assert fit.strictness_spread.value < 0.3


@pytest.mark.parametrize(
    ("weights", "noise", "strictness", "spread"),
    [([1.0], 0.5, 0.0, 0.5), ([0.8, 0.2], 1.0, 0.7, 0.0), ([0.5, -0.5], 2.0, -1.0, 1.0)],
)
def test_known_settings_lie_in_their_intervals(weights, noise, strictness, spread):
    known = [*weights, noise, strictness, spread]
    inside = []
    for seed in range(4):
        rng = np.random.default_rng(100 + seed)
        values = standardised(rng, 500, len(weights))
        crowd = Crowd(strictness=strictness, strictness_spread=spread)
        votes = cast(values, weights, noise, crowd, 30, 3, seed)
        fit = fit_crowd(values, np.zeros(500, int), *votes, rng)
        found = [*fit.weights, fit.noise, fit.strictness, fit.strictness_spread]
        # A spread of 0 lies on the edge of what is possible, outside of any interval.
        found, wanted = (found[:-1], known[:-1]) if spread == 0 else (found, known)
        inside += [
            each.low - 1e-9 <= value <= each.high + 1e-9
            for each, value in zip(found, wanted, strict=True)
        ]
    # Nominal 95 %: of 12 to 20, more than three outside have a probability below 2 %.
    assert inside.count(False) <= 3


def test_generations_are_standardised_one_by_one():
    # The second generation is far better by the scorer; voters, who compare within a generation,
    # do not vote it up more.
    rng = np.random.default_rng(2)
    first, second = (standardised(rng, 300, 1) for _ in range(2))
    votes = [
        cast(each, [1.0], 1.0, Crowd(), 20, 3, seed) for seed, each in enumerate((first, second))
    ]
    document = np.concatenate([votes[0][0], votes[1][0] + 300])
    rater, is_up = (np.concatenate([each[i] for each in votes]) for i in (1, 2))
    values = np.concatenate([first, second * 3 + 50])
    group = np.repeat([0, 1], 300)
    fit = fit_crowd(values, group, document, rater, is_up, np.random.default_rng(0))
    assert fit.noise.low <= 1.0 <= fit.noise.high
    assert fit.strictness.low <= 0.0 <= fit.strictness.high


def test_votes_at_random_give_a_noise_without_an_upper_end():
    rng = np.random.default_rng(3)
    values = standardised(rng, 200, 1)
    document, rater = np.repeat(np.arange(200), 3), rng.integers(0, 10, 600)
    fit = fit_crowd(values, np.zeros(200, int), document, rater, rng.random(600) < 0.5, rng)
    assert fit.noise.high > 5


def test_what_tells_nothing_is_an_error():
    values, group = np.array([[1.0], [2.0]]), np.zeros(2, int)
    votes = (np.array([0, 1]), np.array([0, 0]))
    with pytest.raises(ValueError, match="all votes are the same"):
        fit_crowd(values, group, *votes, np.array([True, True]), np.random.default_rng(0))
    with pytest.raises(ValueError, match="scorer 1: gives all documents the same value"):
        fit_crowd(values * 0, group, *votes, np.array([True, False]), np.random.default_rng(0))


# --- choices among a few documents ----------------------------------------------------------


def choose(values, weights, noise, width, errors, seed=0, rounds=6):
    """Choices one by one, among random documents: the chosen rows, and those beside them."""
    rng = np.random.default_rng(seed)
    quality = values @ weights
    quality = quality / quality.std()
    shown = np.concatenate([rng.permutation(len(values)) for _ in range(rounds)])
    shown = shown[: len(shown) // width * width].reshape(-1, width)
    error = rng.logistic(size=shown.shape) if errors == "logistic" else rng.gumbel(size=shown.shape)
    best = (quality[shown] + noise * error).argmax(axis=1)
    is_best = np.arange(width) == best[:, None]
    return shown[is_best], shown[~is_best].reshape(-1, width - 1)


def test_the_probability_of_a_better_one_of_two_is_the_integral_in_closed_form():
    # Of two logistic errors: P(x - y < d) = e^d (e^d - 1 - d) / (e^d - 1)^2.
    lead = np.array([-6.0, -2.0, -0.5, 0.5, 1.0, 4.0, 8.0])
    e = np.exp(lead)
    expected = e * (e - 1 - lead) / (e - 1) ** 2
    assert np.exp(_log_best_logistic(lead[:, None])) == pytest.approx(expected, rel=2e-4)
    alike = np.zeros((1, 3))
    assert np.exp(_log_best_logistic(alike)) == pytest.approx(1 / 4)  # the best of four alike
    missing = np.array([[0.0, np.inf, np.inf]])
    assert np.exp(_log_best_logistic(missing)) == pytest.approx(1 / 2)


def test_gumbel_choices_of_two_are_logistic_regression_on_the_differences():
    from sklearn.linear_model import LogisticRegression

    values = standardised(np.random.default_rng(4), 300, 2)
    chosen, others = choose(values, [0.7, -0.3], 0.8, 2, "gumbel")
    fit = fit_choices(
        values, np.zeros(300, int), chosen, others, np.random.default_rng(0), errors="gumbel"
    )
    differences = values[chosen] - values[others[:, 0]]
    model = LogisticRegression(C=1e9, fit_intercept=False)
    model.fit(np.concatenate([differences, -differences]), [1] * len(chosen) + [0] * len(chosen))
    (slopes,) = model.coef_
    assert [each.value for each in fit.weights] == pytest.approx(
        slopes / np.abs(slopes).sum(), abs=1e-3
    )
    assert fit.noise.value == pytest.approx(1 / (values @ slopes).std(), rel=1e-3)
    assert (fit.strictness, fit.strictness_spread) == (None, None)


@pytest.mark.parametrize("errors", ["logistic", "gumbel"])
@pytest.mark.parametrize("width", [2, 4])
def test_known_settings_of_choices_lie_in_their_intervals(width, errors):
    weights, noise = [0.7, -0.3], 0.8
    inside = []
    for seed in range(4):
        values = standardised(np.random.default_rng(200 + seed), 300, 2)
        choices = choose(values, weights, noise, width, errors, seed)
        rng = np.random.default_rng(0)
        fit = fit_choices(values, np.zeros(300, int), *choices, rng, errors=errors)
        first = fit.weights[0]  # which decides the second, their absolute sum is 1
        inside += [first.low <= 0.7 <= first.high, fit.noise.low <= noise <= fit.noise.high]
        assert fit.noise.high - fit.noise.low < 0.5  # the votes tell something
    # Nominal 95 %: of 8, more than two outside have a probability below 1 %.
    assert inside.count(False) <= 2


def test_choices_in_groups_of_different_sizes_count_what_was_shown():
    values = standardised(np.random.default_rng(5), 400, 1)
    pairs = choose(values, [1.0], 1.0, 2, "logistic")
    groups = choose(values, [1.0], 1.0, 4, "logistic", seed=1)
    padded = np.pad(pairs[1], ((0, 0), (0, 2)), constant_values=-1)
    chosen = np.concatenate([pairs[0], groups[0]])
    others = np.concatenate([padded, groups[1]])
    fit = fit_choices(values, np.zeros(400, int), chosen, others, np.random.default_rng(0))
    assert fit.noise.low <= 1.0 <= fit.noise.high
    assert fit.num_votes == len(chosen)
    with pytest.raises(ValueError, match="there are no votes"):
        fit_choices(values, np.zeros(400, int), chosen[:0], others[:0], np.random.default_rng(0))
