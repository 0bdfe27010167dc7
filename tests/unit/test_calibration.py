"""The calibration: its theory against simulation and the literature, its verdicts, its table."""

import doctest
import math

import numpy as np
import pytest

from textmad.calibration import Check, checks, every_loop, summary, table, tastes, theory
from textmad.calibration.checks import Measured

CHAINS = 20_000


@pytest.mark.parametrize("module", [checks, tastes, theory])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


def check(theory=2.0, measured=2.0, standard_error=0.03, vanishes=False):
    return Check("A9", "loop", "what", theory, Measured(measured, standard_error), vanishes)


def agrees_with(simulated, exact):
    mean, error = checks.mean_of(simulated)
    assert error < 0.02 * exact
    assert abs(mean - exact) < 4 * error


# --- theory ---------------------------------------------------------------------------------


def test_words_left_and_shares_squared_are_those_of_the_literature():
    shares = theory.zipf(1000)
    assert theory.squared_shares(shares, 500, 10) == pytest.approx(0.04858, abs=5e-6)
    # Of a word with share p the first 500 draws hold none with probability (1 - p)^500.
    assert theory.support(shares, 500, 1) == pytest.approx((1 - (1 - shares) ** 500).sum())
    for rounds, words in [(1, 210.7), (5, 89.5), (10, 56.1)]:  # simulated, hence the tolerance
        assert theory.support(shares, 500, rounds) == pytest.approx(words, abs=0.15)


def test_the_median_variance_is_that_of_a_product_of_chi_squares():
    factors = np.random.default_rng(0).chisquare(99, (CHAINS, 11)) / 99
    median, error = checks.median_of(factors.prod(axis=1))
    assert abs(theory.median_variance(100, 11) - median) < 4 * error < 0.03
    assert theory.median_variance(100, 10) == pytest.approx(0.90, abs=0.01)  # CLAIMS of [A]


def fits(values):
    return values.mean(axis=1), values.var(axis=1, ddof=1)


def from_fit(rng, mean, variance, draws, bias=1.0):
    noise = rng.standard_normal((len(mean), draws))
    return mean[:, None] + np.sqrt(bias * variance)[:, None] * noise


def test_what_accumulates_errs_as_a_simulation_does():
    rng, draws = np.random.default_rng(1), 5
    human = rng.standard_normal((2 * CHAINS, 2 * draws))
    fit, pool = fits(human), human[:, :draws]
    for _ in range(4):
        pool = np.concatenate([pool, from_fit(rng, *fit, draws)], axis=1)
        fit = fits(pool)
    agrees_with(draws * fit[0] ** 2, theory.accumulate_error(draws, 4))


@pytest.mark.parametrize(("human", "model", "bias"), [(10, 20, 0.8), (12, 6, 1.0)])
def test_fresh_text_keeps_the_error_that_a_simulation_finds(human, model, bias):
    rng = np.random.default_rng(2)
    fit = fits(rng.standard_normal((CHAINS, human + model)))
    for _ in range(4):
        fresh = rng.standard_normal((CHAINS, human))
        fit = fits(np.concatenate([fresh, from_fit(rng, *fit, model, bias)], axis=1))
    agrees_with(theory.fit_error(*fit), theory.fresh_error(human, model, bias, 4))


def test_much_model_text_is_worth_less_than_none_only_where_sampling_is_biased():
    def worth(model, bias):
        return theory.effective_sample_size(theory.fresh_error(20, model, bias, 200)) / 20

    assert worth(10, 0.7) > 1 > worth(80, 0.7)
    assert worth(80, 1.0) > worth(10, 1.0) > 1


# --- verdicts -------------------------------------------------------------------------------


def test_a_value_agrees_up_to_four_standard_errors_from_theory():
    assert check(measured=2.119).verdict == check(measured=1.881).verdict == "agrees"
    assert check(measured=2.121).verdict == check(measured=1.879).verdict == "DIFFERS"
    assert check(measured=math.nan).verdict == check(standard_error=math.nan).verdict == "DIFFERS"


def test_a_value_whose_error_could_hide_a_fault_does_not_agree():
    assert check(standard_error=0.041).verdict == "TOO UNSURE"
    assert check(standard_error=0.041, vanishes=True).verdict == "agrees"
    assert check(theory=-2.0, measured=-2.0, standard_error=0.041).verdict == "TOO UNSURE"


def test_replicates_that_are_all_alike_agree_only_with_what_they_are():
    assert check(standard_error=0.0).verdict == "agrees"
    assert check(measured=2.001, standard_error=0.0).verdict == "DIFFERS"


def test_the_table_shows_every_check_and_the_words_below_it_name_those_that_fail():
    found = [check(), check(measured=1.5)]
    lines = table(found).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        *("A9", "loop", "what", "2", "1.5", "0.03", "-16.7", "DIFFERS")
    ]
    assert summary(found) == "1 of 2 do not agree with theory: A9 loop"
    assert summary(found[:1]).startswith("all 1 agree")


def test_a_choice_among_four_is_the_same_by_sum_and_by_integral():
    shares = theory.zipf(theory.NUM_TEXTS)
    by_sum = tastes.best_of_four(shares, theory.REWARD)
    assert by_sum == pytest.approx(theory.best_of(shares, 4), abs=1e-9)


def test_one_taste_leaves_one_length_and_two_leave_two_in_equal_shares():
    assert tastes.entropy(tastes.shares_of_lengths((10,), 60)) == pytest.approx(0, abs=1e-6)
    shares = tastes.shares_of_lengths((10, 15), 60)
    assert shares[[9, 14]] == pytest.approx(0.5, abs=1e-6)
    assert tastes.entropy(shares) == pytest.approx(math.log(2), abs=1e-6)


def test_of_three_tastes_the_middle_one_gets_what_the_outer_ones_do_not_find():
    shares = tastes.shares_of_lengths((5, 10, 15), 200)
    outer, middle, other = shares[[4, 9, 14]]
    assert outer == pytest.approx(other, abs=1e-6)
    assert outer + middle + other == pytest.approx(1, abs=1e-4)
    # In a group of four a taste takes its length where there is one. Where 5 is not, its taste
    # takes 10, and 15 last; where 10 is not, its taste takes 5 or 15.
    chosen = 1 - (1 - outer) ** 4 + (2 * outer) ** 4 / 2 + outer**4
    assert outer == pytest.approx(chosen / 3, abs=1e-4)
    assert middle > 0.5


def test_the_finite_loop_comes_to_the_formula_with_more_documents():
    exact = tastes.entropy(tastes.shares_of_lengths(tastes.TARGETS[3], 1))
    far, near = (
        abs(tastes.finite_entropy(tastes.TARGETS[3], 1, documents, replicates=40) - exact)
        for documents in (60, 4000)
    )
    assert near < far / 5
    assert near < 0.02 * exact


def test_every_loop_has_its_own_name():
    names = [loop.name for loop in every_loop()]
    assert len(set(names)) == len(names)
