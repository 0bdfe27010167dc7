"""Taste that drifts with what voters are shown: the rule by hand, the state, what is refused."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from textmad.curation import Bots, Choice, Context, Crowd, Exposure, MatchedRandom, Upvotes
from textmad.curation.drift import Exposed, drifted, first_scale, tastes_of
from textmad.curation.voters import Electorate, sample_voters
from textmad.text.documents import documents


def near_10(texts):
    """A taste for 10."""
    return [-abs(float(text) - 10) for text in texts]


def near_15(texts):
    """A taste for 15."""
    return [-abs(float(text) - 15) for text in texts]


NAMES = (f"{__name__}:near_10", f"{__name__}:near_15")
CROWD = Upvotes(
    scorer=dict.fromkeys(NAMES, 1.0),
    units="raw",
    voters=40,
    keep=0.5,
    crowd=Crowd(taste_spread=1, drift=0.25),
)


def candidates(values, order=None):
    order = range(len(values)) if order is None else order
    return documents(
        {"text": [str(values[i]) for i in order], "id": [f"g2-{i:05d}" for i in order]}
    )


def voted(crowd, values, state=None, *, seed=0, order=None):
    """The verdicts on a generation, and the state that is kept after it, through JSON."""
    nothing, kept = documents({"text": []}), []
    context = Context(
        generation=2,
        rng=np.random.default_rng(seed),
        human=nothing,
        earlier=lambda g: nothing,
        token_nll=lambda t: [],
        base_token_nll=lambda t: [],
        previous_state=lambda: state,
        keep_state=kept.append,
    )
    verdicts = crowd(candidates(values, order), context)
    (after,) = kept or [None]
    return verdicts, json.loads(json.dumps(after))


def weights(state):
    return np.array(state["voters"]["weights"])


def test_a_document_belongs_to_the_scorer_that_rates_it_highest():
    values = np.array([[-1.0, -4.0], [-4.0, -1.0], [-2.5, -2.5]])
    shares = tastes_of(values, np.array([0.5, 0.5]), np.zeros(2), np.ones(2))
    assert shares.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    # Disliked values count the other way, and a scorer without weight has no document.
    assert tastes_of(values, np.array([0.5, -0.5]), np.zeros(2), np.ones(2)).tolist()[0] == [0, 1]
    assert (
        tastes_of(values, np.array([1.0, 0.0]), np.zeros(2), np.ones(2))[:, 1].tolist() == [0] * 3
    )


def test_in_standard_units_scorers_are_compared_on_the_scale_of_the_first_text():
    first = np.array([[0.0, 100.0], [2.0, 300.0]])
    mean, deviation = first_scale(first, is_raw=False)
    assert (mean.tolist(), deviation.tolist()) == ([1, 200], [1, 100])
    # 3 is two deviations above the first text, 350 one and a half.
    later = tastes_of(np.array([[3.0, 350.0]]), np.array([0.5, 0.5]), mean, deviation)
    assert later.tolist() == [[1, 0]]
    assert [a.tolist() for a in first_scale(first, is_raw=True)] == [[0, 0], [1, 1]]
    alike = first_scale(np.ones((3, 1)), is_raw=False)
    assert [a.tolist() for a in alike] == [[1], [1]]


def test_weights_move_by_the_rate_towards_what_was_shown():
    members = sample_voters(
        Electorate(2, np.array([0.5, -0.5]), 1.0, Crowd()), np.random.default_rng(0)
    )
    shown = np.array([[3.0, 1.0], [0.0, 0.0]])  # the second voter was shown nothing
    moved = drifted(members, shown, np.array([1.0, -1.0]), 0.2).weights
    assert moved[0] == pytest.approx([0.8 * 0.5 + 0.2 * 0.75, -0.8 * 0.5 - 0.2 * 0.25])
    assert moved[1].tolist() == [0.5, -0.5]


def test_where_everybody_sees_everything_differences_shrink_by_the_rate():
    values = [10] * 30 + [15] * 10
    _, first = voted(CROWD, values)
    before = weights(first)
    _, second = voted(CROWD, values, first, seed=1)
    # Three quarters of the text belong to 10: w <- 0.75 w + 0.25 (0.75, 0.25).
    assert weights(second) == pytest.approx(0.75 * before + 0.25 * np.array([0.75, 0.25]))
    assert np.ptp(weights(second)[:, 0]) == pytest.approx(0.75 * np.ptp(before[:, 0]))
    assert np.ptp(before[:, 0]) == pytest.approx(0.75)  # of voters with one scorer each


def test_the_same_voters_vote_again_whatever_the_random_numbers():
    crowd = replace(CROWD, crowd=Crowd(taste_spread=0.5, noise_spread=1, drift=0.25))
    _, first = voted(crowd, [10, 15] * 20)
    _, second = voted(crowd, [10, 15] * 20, first, seed=9)
    for name in ("noise", "threshold", "abstain", "at_random", "is_bot"):
        assert second["voters"][name] == first["voters"][name]
    assert len(set(first["voters"]["noise"])) == 40


def test_votes_follow_the_taste_that_has_drifted():
    # All text is near 10, so a voter for 15 alone comes to like 10: 1 - 0.5^8 of the weight.
    crowd = replace(CROWD, crowd=Crowd(taste_spread=1, drift=0.5), noise=0)
    state = None
    for seed in range(8):
        _, state = voted(crowd, [9, 10, 11] * 20, state, seed=seed)
    assert weights(state)[:, 0].min() == pytest.approx(1 - 0.5**8, abs=1e-9)
    verdicts, _ = voted(crowd, [10, 15] * 20, state)
    kept = np.array([10, 15] * 20)[verdicts.keep]
    assert set(kept.tolist()) == {10}


def test_without_drift_no_state_is_kept_and_the_votes_are_the_same():
    still = replace(CROWD, crowd=Crowd(taste_spread=1))
    plain, state = voted(still, [10, 15] * 20)
    assert state is None
    assert not [name for name in plain.columns if name.startswith("taste_")]
    moving, _ = voted(CROWD, [10, 15] * 20)  # the first generation votes as it would without
    assert (moving.columns["ups"] == plain.columns["ups"]).all()
    assert moving.keep.tolist() == plain.keep.tolist()


def test_the_order_of_candidates_changes_neither_votes_nor_tastes():
    values = [10, 12.5, 15, 9] * 10
    order = np.random.default_rng(1).permutation(40)
    straight, state = voted(CROWD, values)
    shuffled, same = voted(CROWD, values, order=order)
    assert same == state
    assert shuffled.keep.tolist() == straight.keep[order].tolist()


def test_a_voter_drifts_by_what_they_were_shown_themselves():
    crowd = replace(CROWD, exposure=Exposure(attention=0.3), crowd=Crowd(drift=1))
    verdicts, state = voted(crowd, [10, 15] * 200)
    shares = weights(state)[:, 0]  # with rate 1: the share of 10 among what each was shown
    # 120 documents each of 400, half of them 10: standard deviation 0.038.
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert 0.02 < shares.std() < 0.06
    assert verdicts.columns["exposure"].mean() == pytest.approx(0.3 * 40, abs=1)


def test_the_table_says_with_which_taste_people_voted():
    crowd = replace(CROWD, bots=Bots(share=0.5, pattern="10"))
    _, state = voted(crowd, [10, 15] * 20)
    verdicts, _ = voted(crowd, [10, 15] * 20, state, seed=1)
    people = ~np.array(state["voters"]["is_bot"])
    assert people.sum() == 20
    for column, name in enumerate(NAMES):
        (mean,) = set(verdicts.columns[f"taste_{name}"].tolist())
        assert mean == pytest.approx(weights(state)[people, column].mean())


def test_the_one_who_decides_has_drifted_too():
    crowd = replace(
        CROWD, choice=Choice("bradley_terry", temperature=0.01), decided_by="voter", rank="quality"
    )
    state = None
    for seed in range(12):  # nothing but 15 is shown
        _, state = voted(crowd, [15] * 20, state, seed=seed)
    verdicts, _ = voted(crowd, [10, 15] * 100, state)
    assert np.array([10, 15] * 100)[verdicts.keep].mean() > 13
    fresh, _ = voted(crowd, [10, 15] * 100)
    assert np.array([10, 15] * 100)[fresh.keep].mean() < 13


def test_a_matched_random_control_carries_the_tastes_of_its_original():
    _, state = voted(CROWD, [10, 15] * 20)
    _, of_twin = voted(MatchedRandom(CROWD), [10, 15] * 20)
    assert of_twin == state


def test_a_state_is_read_as_it_was_written():
    members = sample_voters(
        Electorate(3, np.array([0.5, 0.5]), 0.3, Crowd(taste_spread=0.4), Bots(0.4)),
        np.random.default_rng(0),
    )
    exposed = Exposed(members, np.array([0.1, 1 / 3]), np.ones(2))
    again = Exposed.from_state(json.loads(json.dumps(exposed.state())))
    for one, other in zip(exposed.members, again.members, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()
    assert again.mean.tolist() == exposed.mean.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"scorer": "fluency", "crowd": Crowd(drift=0.2)},
            "has no effect with a single scorer; give several with their weights, or delete it",
        ),
        (
            {"scorer": {"fluency": 1.0, "variety": 0.0}, "crowd": Crowd(drift=0.2)},
            "has no effect with a single scorer; give several with their weights, or delete it",
        ),
        (
            {"rank": "quality", "crowd": Crowd(drift=0.2)},
            "has no effect while rank is quality and decided_by is votes; set decided_by: voter "
            "or another rank, or delete it",
        ),
    ],
)
def test_a_drift_without_effect_is_an_error(settings, message):
    with pytest.raises(ValueError, match=re.escape(f"crowd.drift: 0.2: {message}")):
        replace(CROWD, **settings)


@pytest.mark.parametrize("drift", [-0.1, 1.1, float("nan")])
def test_a_rate_is_a_share(drift):
    with pytest.raises(ValueError, match=re.escape(f"drift: {drift:g}: expected a share from 0")):
        Crowd(drift=drift)
