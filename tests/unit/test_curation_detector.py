"""The detector: what it drops, how it draws, what it learns from, what it refuses."""

from itertools import permutations

import numpy as np
import pytest

from textmad.curation import Context, Detector
from textmad.detection import Models, first_by_hash, human_likeness, model_log_odds
from textmad.errors import CurationError, RecipeError
from textmad.models.protocol import TokenMoments, expecting
from textmad.recipe.components import Component
from textmad.testing.synthetic import ToyModel, human_documents, model_documents, written
from textmad.text.documents import documents
from textmad.text.passages import Passages

HUMAN = human_documents(40, "human")


def flat_moments(texts):
    """Nats are the number of letters a text has of x; expected are none; the variance is 1."""
    nll = [np.array([float(text.count("x"))]) for text in texts]
    return TokenMoments(nll, [np.zeros(1) for _ in texts], [np.ones(1) for _ in texts])


def context(generation=2, seed=0, human=HUMAN, moments=flat_moments, earlier=written):
    toy = ToyModel(3)
    return Context(
        generation,
        np.random.default_rng(seed),
        human,
        lambda wanted: earlier(wanted, 40),
        toy.token_nll,
        toy.token_nll,
        base_token_moments=moments,
        cross_entropy=lambda texts: toy.cross_entropy(texts, ToyModel(7)),
    )


def likely(*counts):
    """Documents of so many x."""
    return model_documents(2, ["x" * count + f" {i}" for i, count in enumerate(counts)])


@pytest.mark.parametrize(("keep", "kept"), [(0.5, [1, 3]), (0.25, [3]), (0.75, [0, 1, 3])])
def test_dropping_rejects_the_share_that_is_likelier_than_expected(keep, kept):
    verdicts = Detector(keep=keep)(likely(2, 5, 1, 9), context())
    assert verdicts.score.tolist() == [2, 5, 1, 9]  # curvature is -x, and less of it more human
    assert np.flatnonzero(verdicts.keep).tolist() == kept
    assert verdicts.reason == f"not among the {keep:g} that look most human by curvature"
    assert verdicts.columns == {}  # nothing was learned, so there is no probability


def test_equal_documents_are_kept_by_their_ids():
    candidates = documents({"text": ["x"] * 4, "id": ["d", "b", "c", "a"]})
    assert Detector()(candidates, context()).keep.tolist() == [False, True, False, True]


def test_resampling_draws_with_the_weights_of_the_calibrated_probability():
    candidates = likely(0, 1, 2, 3)
    human = documents({"text": ["x" * (i % 5 + 1) for i in range(60)]})
    written_before = model_documents(1, ["x" * (i % 4) + str(i) for i in range(60)])
    detector = Detector(use="resample", keep=0.5, exponent=6.0)
    draws = 150  # a dozen milliseconds each
    verdicts = [
        detector(candidates, context(seed=seed, human=human, earlier=lambda *_: written_before))
        for seed in range(draws)
    ]
    p = verdicts[0].columns["model_probability"]
    assert (np.diff(p) < 0).all()
    weights = (1 - p) ** 6
    exact = np.zeros(4)  # two of the four, one after the other
    for first, second in permutations(range(4), 2):
        chance = weights[first] / weights.sum() * weights[second] / (weights.sum() - weights[first])
        exact[[first, second]] += chance
    assert exact.sum() == pytest.approx(2)
    found = np.mean([v.keep for v in verdicts], axis=0)
    tolerance = 4 * np.sqrt(0.25 / draws)
    assert abs(exact - 0.5).max() > 2 * tolerance  # equal weights would not pass
    np.testing.assert_allclose(found, exact, atol=tolerance)
    assert all(v.score.tolist() == [0, 1, 2, 3] for v in verdicts)


def test_a_large_exponent_resamples_nearly_what_dropping_keeps():
    candidates = written(2, 60)
    toy = ToyModel(7)
    dropped = Detector()(candidates, context(moments=toy.token_moments))
    sharp = Detector(use="resample", exponent=1e6)(candidates, context(moments=toy.token_moments))
    # The calibration decides which end is a model's.
    p = sharp.columns["model_probability"]
    low = np.argsort(p, kind="stable")[:30]
    assert set(np.flatnonzero(sharp.keep)) == set(low)
    assert (dropped.score == sharp.score).all()


def test_the_probability_is_calibrated_on_as_much_human_as_model_text():
    candidates = written(0, 25)
    toy = ToyModel(7)
    found = Detector(use="resample")(candidates, context(generation=0, moments=toy.token_moments))
    human = first_by_hash(HUMAN, 25)
    models = Models(toy.token_moments, toy.token_nll, lambda t: [])
    odds = model_log_odds(
        found.score,
        human_likeness("curvature", Passages.whole(human), models),
        human_likeness("curvature", Passages.of(candidates), models),
    )
    np.testing.assert_allclose(
        found.columns["model_probability"], 1 / (1 + np.exp(-odds)), rtol=1e-6
    )


def test_the_trained_method_knows_the_generation_before():
    """Unlabelled candidates: what it knows of models is what they wrote earlier."""

    def earlier(*_):
        return model_documents(1, [f"{t} indeed" for t in written(1, 300)["text"][:]])

    texts = [f"{t} indeed" if i % 2 else t for i, t in enumerate(written(2, 40)["text"][:])]
    unlabelled = documents({"text": texts})
    human = human_documents(300, "human")
    verdicts = Detector("trained")(unlabelled, context(human=human, earlier=earlier))
    assert verdicts.keep.tolist() == [True, False] * 20
    p = verdicts.columns["model_probability"]
    assert p[1::2].min() > 0.5 > p[::2].max()


@pytest.mark.parametrize("detector", [Detector("trained"), Detector(use="resample")])
def test_nothing_is_known_of_models_before_any_has_written(detector):
    with pytest.raises(
        CurationError, match="no model text is known to learn from: no candidate is "
    ):
        detector(documents({"text": ["a", "b"]}), context(generation=0))


def test_a_context_made_by_hand_without_moments_says_so():
    nobody = Context(0, np.random.default_rng(0), HUMAN, written, lambda t: [], lambda t: [])
    with pytest.raises(CurationError, match="this context tells no token moments and no cross-"):
        Detector()(likely(1, 2), nobody)


def test_a_model_that_tells_no_expectations_is_named():
    class Plain:
        name = "plain"

    with pytest.raises(CurationError, match=r"the model plain has no token_moments\(texts\) and "):
        expecting(Plain())
    assert expecting(ToyModel(3)) == ToyModel(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "detector.keep: 0: expected a share above 0 and at most 1"),
        ({"keep": 1.5}, "detector.keep: 1.5: expected a share above 0 and at most 1"),
        (
            {"use": "resample", "exponent": 0.0},
            "detector.exponent: 0: expected a finite number above 0",
        ),
        (
            {"use": "resample", "exponent": -1.0},
            "detector.exponent: -1: expected a finite number above 0",
        ),
        (
            {"exponent": 2.0},
            "detector.exponent: 2: has no effect while use is drop; set use: resample, or "
            "delete it",
        ),
        (
            {"method": "binoculars"},
            "detector.method: binoculars: expected 'curvature', 'cross_perplexity' or 'trained'",
        ),
        ({"use": "keep"}, "detector.use: keep: expected 'drop' or 'resample'"),
    ],
)
def test_bad_settings_are_errors_with_what_was_expected(options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="detector", options=options).build("filter")
    assert str(caught.value) == message
