"""The early warning: exact boundaries, false alarms as promised, planted collapse found."""

import doctest
import inspect
import math

import numpy as np
import pytest
from scipy import special

from textmad.statistics import early_warning as early_warning_module
from textmad.statistics.early_warning import early_warning

TYPES, DRAWS = 200, 500
HUMAN = (1 / np.arange(1, TYPES + 1)) / (1 / np.arange(1, TYPES + 1)).sum()  # Zipf's law
RARE = np.arange(TYPES) >= TYPES // 3
HARM = {"perplexity": "above", "rare_loss": "above", "support": "below"}


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(early_warning_module).failed == 0


def test_the_rate_is_five_percent_where_none_is_given():
    assert inspect.signature(early_warning).parameters["rate"].default == 0.05


# --- boundaries -----------------------------------------------------------------------------


@pytest.mark.parametrize(("harm", "tail"), [("above", 0.95), ("below", 0.95), ("either", 0.975)])
def test_a_single_signal_and_generation_is_the_t_test(harm, tail):
    differences = [[0.3], [-0.1], [0.4], [0.2]]
    found = early_warning([1], {"x": differences}, {"x": harm})
    t = np.mean(differences) / (np.std(differences, ddof=1) / 2)
    evidence = {"above": t, "below": -t, "either": abs(t)}[harm]
    assert found.evidence["x"][0] == pytest.approx(evidence)
    # 5 % of 20,000 rotations: its standard error is 0.15 %, which is 1 % of the boundary
    assert found.boundaries[0] == pytest.approx(special.stdtrit(3, tail), rel=0.05)


def test_a_signal_that_repeats_another_costs_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3))
    alone = early_warning([1, 2, 3], {"x": x}, {"x": "above"})
    twice = early_warning([1, 2, 3], {"x": x, "y": 2 * x}, {"x": "above", "y": "above"})
    assert twice.boundaries == pytest.approx(alone.boundaries)
    other = early_warning([1, 2, 3], {"x": x, "y": rng.normal(size=(5, 3))})
    assert all(np.array(other.boundaries) > alone.boundaries)


def test_a_boundary_depends_on_no_later_generation():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 4))
    y = x.copy()
    y[:, 2:] += 100
    found = [early_warning([1, 2, 3, 4], {"x": each}) for each in (x, y)]
    assert found[0].boundaries[:2] == found[1].boundaries[:2]
    assert found[0].evidence["x"][:2] == found[1].evidence["x"][:2]


def test_what_it_says_is_the_same_twice_and_in_any_unit():
    x = np.random.default_rng(2).normal(1, 1, (4, 3))
    assert early_warning([1, 2, 3], {"x": x}) == early_warning([1, 2, 3], {"x": x})
    scaled = early_warning([1, 2, 3], {"x": 1e-6 * x})
    assert scaled.boundaries == pytest.approx(early_warning([1, 2, 3], {"x": x}).boundaries)


# --- what fired -----------------------------------------------------------------------------


def test_each_signal_has_its_generation_and_the_first_of_them_is_the_alarm():
    wobble = np.array([[-0.1], [0.0], [0.1], [0.05]])
    early = wobble + np.array([0.0, 5.0, 6.0, 7.0])
    late = wobble[::-1] + np.array([0.0, 0.0, 0.0, 9.0])
    found = early_warning(
        [1, 2, 3, 4],
        {"late": late, "early": early, "never": wobble * np.ones(4)},
        {"late": "above", "early": "above"},
    )
    assert found.fired == {"late": 4, "early": 2, "never": None}
    assert (found.first, found.signals) == (2, ["early"])
    assert found.n == 4


def test_a_move_to_the_harmless_side_fires_nothing():
    falls = np.array([[-5.0, -9.0], [-5.2, -9.1], [-4.9, -9.0]])
    fires = {
        side: early_warning([1, 2], {"x": falls}, {"x": side}).first
        for side in ("above", "below", "either")
    }
    assert fires == {"above": None, "below": 1, "either": 1}


def test_differences_that_are_nothing_fire_nothing():
    found = early_warning([1, 2], {"x": np.zeros((3, 2))})
    assert found.first is None
    assert found.signals == []
    assert found.boundaries == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ({}, "expected .* in all of them"),
        ({"x": [[1.0, 2.0]]}, "of at least two seeds"),
        ({"x": [[1.0], [2.0]]}, "over 2 generations"),
        ({"x": np.ones((2, 2)), "y": np.ones((3, 2))}, "in all of them"),
        (
            {"x": [[math.nan, 1.0], [2.0, 3.0]]},
            "x: a seed has no finite number in generation 1: leave that signal or seed out",
        ),
    ],
)
def test_what_is_no_measurement_is_an_error(differences, message):
    with pytest.raises(ValueError, match=message):
        early_warning([1, 2], differences)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 5}, "rate: 5: expected a share"),
        ({"harm": {"y": "above"}}, "harm: y: is no signal; there are x"),
        ({"tolerances": {"y": 1}}, "tolerances: y: is no signal; there are x"),
        ({"tolerances": {"x": -1}}, "tolerances: x: -1: expected 0 or more"),
        ({"harm": {"x": "up"}}, "harm: x: up: expected above, below or either"),
        ({"generations": [2, 1]}, r"generations: \[2, 1\]: expected ascending"),
    ],
)
def test_settings_that_cannot_be_meant_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        early_warning(**{"generations": [1, 2], "differences": {"x": np.eye(2)}} | settings)


@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_what_a_signal_said_before_it_lacks_a_number_stands(missing):
    wobble = np.array([[-0.1], [0.0], [0.1], [0.05]])
    worse = wobble + np.array([0.0, 5.0, 6.0, 7.0])
    whole = early_warning([1, 2, 3, 4], {"x": worse}, {"x": "above"})
    worse[2, 3] = missing
    ended = early_warning([1, 2, 3, 4], {"x": worse}, {"x": "above"})
    assert (whole.first, whole.ended) == (2, {})
    assert (ended.first, ended.ended) == (2, {"x": 4})
    assert ended.boundaries[:3] == whole.boundaries[:3]
    # Others are watched on.
    late = wobble[::-1] + np.array([0.0, 0.0, 0.0, 9.0])
    both = early_warning([1, 2, 3, 4], {"x": worse - 6, "y": late}, {"x": "above", "y": "above"})
    assert both.fired == {"x": None, "y": 4}


def test_coarse_signals_of_two_seeds_keep_the_rate():
    # Shares of 74 documents at 2 %: where both seeds differ by as much there is no spread.
    rng = np.random.default_rng(3)
    counts = rng.binomial(74, 0.02, (2, 400, 2, 3)) / 74
    found = [
        early_warning([1, 2, 3], {"x": d}, rotations=2000).first for d in counts[0] - counts[1]
    ]
    assert share_fired(found) <= 0.08


# --- the null at the tolerance ---------------------------------------------------------------


@pytest.mark.parametrize(("effect", "most"), [(0.25, 0.02), (0.5, 0.02), (1.0, 0.08)])
def test_an_effect_of_the_tolerance_or_less_fires_in_five_percent_at_most(effect, most):
    # Five signals, noise of a seed 0.4 of the tolerance. 150 draws: a standard error of 1.8 % at 5.
    rng = np.random.default_rng(7)
    names = [f"signal {i}" for i in range(5)]
    fired = {"beyond": 0, "any": 0}
    for _ in range(150):
        d = {name: effect + rng.normal(0, 0.4, (5, 5)) for name in names}
        harm, rest = dict.fromkeys(names, "above"), {"rotations": 1000}
        allowed = dict.fromkeys(names, 1.0)
        beyond = early_warning(range(1, 6), d, harm, tolerances=allowed, **rest)
        fired["beyond"] += beyond.first is not None
        fired["any"] += early_warning(range(1, 6), d, harm, **rest).first is not None
    assert fired["beyond"] / 150 <= most
    assert fired["any"] / 150 > 0.3  # without a tolerance any difference counts, as it says


def test_harm_of_twice_the_tolerance_is_found_on_either_side():
    wobble = np.array([[-0.1], [0.05], [0.0], [0.1]]) * np.ones(3)
    for sign in (1, -1):
        d = {"x": 2 * sign + wobble}
        assert early_warning([1, 2, 3], d, tolerances={"x": 1.0}).first == 1
        assert early_warning([1, 2, 3], d, tolerances={"x": 2.0}).first is None
        per_seed = np.full((4, 3), 1.0)
        assert early_warning([1, 2, 3], d, tolerances={"x": per_seed}).first == 1


# --- how often it is right, on a model that is refitted by counting -------------------------


def chains(rng, model_share, generations, shape):
    """Signals {name: (*shape, generations)} of a categorical model refitted by counting.

    Generation 0 learns from human draws alone. It loses the support that its draws miss.
    """
    model = round(model_share * DRAWS)
    human = np.broadcast_to(HUMAN, (*shape, TYPES))
    fitted = rng.multinomial(DRAWS, human) / DRAWS
    found = {"perplexity": [], "rare_loss": [], "support": []}
    for _ in range(generations):
        counts = rng.multinomial(DRAWS - model, human)
        if model:
            counts = counts + rng.multinomial(model, fitted)
        fitted = counts / DRAWS
        loss = -np.log((fitted + 0.02 / TYPES) / 1.02)
        found["perplexity"].append(np.exp((HUMAN * loss).sum(-1)))
        found["rare_loss"].append((HUMAN * loss)[..., RARE].sum(-1) / HUMAN[RARE].sum())
        found["support"].append((fitted > 0).mean(-1))
    return {name: np.stack(each, -1) for name, each in found.items()}


def fired(rng, arm, control, pairs, seeds=5, generations=5, rotations=2000):
    """The alarm's generation in every pair of arms; None where there was none."""
    a, b = (chains(rng, share, generations, (pairs, seeds)) for share in (arm, control))
    return [
        early_warning(
            range(1, generations + 1),
            {name: a[name][pair] - b[name][pair] for name in a},
            HARM,
            rotations=rotations,
        ).first
        for pair in range(pairs)
    ]


def share_fired(found):
    return float(np.mean([first is not None for first in found]))


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_of_200_pairs_of_the_same_arm_five_percent_fire(share):
    found = share_fired(fired(np.random.default_rng(1), share, share, pairs=200))
    assert 0.02 <= found <= 0.08


def test_planted_collapse_is_found_and_early():
    found = fired(np.random.default_rng(2), 1.0, 0.0, pairs=50)
    assert share_fired(found) >= 0.9
    assert np.median([first for first in found if first]) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("generations", [3, 10])
def test_false_alarms_and_power_in_many_pairs(seeds, generations):
    rng = np.random.default_rng(seeds)
    of = {"pairs": 1000, "seeds": seeds, "generations": generations}
    none = {share: share_fired(fired(rng, share, share, **of)) for share in (0.0, 0.6, 1.0)}
    planted = {share: fired(rng, share, 0.0, **of | {"pairs": 300}) for share in (0.3, 0.5, 1.0)}
    power = {share: share_fired(each) for share, each in planted.items()}
    print(f"{seeds} seeds, {generations} generations: false {none}, found {power}")
    # The signals are counts, only about normal, and 1,000 pairs have a standard error of 0.7 %.
    assert all(0.025 <= share <= 0.075 for share in none.values())
    if seeds > 3:
        assert power[1.0] >= 0.9
