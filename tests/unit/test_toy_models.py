"""The categorical and the Gaussian model: counting, averaging, exact losses, draws as learned."""

import doctest
import math

import numpy as np
import pytest
from scipy import stats

import textmad as tm
from textmad.models.opening import open_model
from textmad.models.toy import categorical, gaussian, independent_positions
from textmad.recipe import ModelSettings, SampleSettings, TrainSettings
from textmad.seeds import stream
from textmad.text.documents import documents

SAMPLE = SampleSettings(max_new_tokens=8)


def base(name, **settings):
    return open_model(ModelSettings(base=name, **settings), SAMPLE)


def fitted(model, *texts):
    corpus = documents({"text": list(texts), "id": [f"h{i}" for i in range(len(texts))]})
    return model.fit(corpus, TrainSettings(), seed=0).model


def drawn(model, num_documents, seed=0, **settings):
    found = model.sample(
        SAMPLE.model_copy(update=settings),
        num_tokens=num_documents * (model.num_positions + 1),
        stream=lambda index: stream(seed, "sample", index),
    )
    assert len(found) == num_documents
    assert all(each.finished and each.tokens == model.num_positions + 1 for each in found)
    return [each.text for each in found]


@pytest.mark.parametrize("module", [categorical, gaussian])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


# --- categorical ----------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_word_costs_the_logarithm_of_its_smoothed_share_at_its_place(smoothing):
    model = base("categorical", categories=5, smoothing=smoothing)
    model = fitted(model, "w0 w4", "w0 w2", "w1 w2", "w0 w2")
    total = 4 + 5 * smoothing
    counts = {0: {0: 3, 1: 1}, 1: {4: 1, 2: 3}}
    for first in range(5):
        for second in range(5):
            (nll,) = model.token_nll([f"w{first} w{second}"])
            for place, word in enumerate((first, second)):
                share = (counts[place].get(word, 0) + smoothing) / total
                assert nll[place] == pytest.approx(-math.log(share) if share else math.inf)
            assert nll[2] == 0  # after the last word the end is certain


def test_another_number_of_words_than_was_learned_is_impossible():
    model = fitted(base("categorical", categories=2), "w0 w1", "w0 w1")
    short, long = model.token_nll(["w0", "w0 w1 w0"])
    assert short.tolist() == [0, math.inf]
    assert long.tolist() == [0, 0, math.inf, math.inf]


def test_the_base_finds_every_word_equally_likely():
    scores = base("categorical", categories=8).token_scores(["w3 w0"])
    assert scores.nll[0].tolist() == pytest.approx([math.log(8), math.log(8), 0])


def test_the_most_likely_word_is_the_one_that_was_counted_most_often():
    model = fitted(base("categorical", categories=4), "w3 w1", "w3 w2", "w0 w2", "w1 w1")
    correct = model.token_scores(["w3 w2", "w0 w1"]).correct
    assert correct[0].tolist() == [True, False, True]
    assert correct[1].tolist() == [False, True, True]  # of equals the lowest number


def test_support_and_the_sum_of_squared_shares_are_those_of_each_place():
    model = fitted(base("categorical", categories=9), "w0 w8", "w0 w7", "w0 w8", "w0 w6")
    assert model.support.tolist() == [1, 3]
    assert model.squared_shares.tolist() == [1, (4 + 1 + 1) / 16]


@pytest.mark.parametrize(
    ("smoothing", "temperature"), [(0.0, 1.0), (2.0, 1.0), (0.0, 0.5), (0.5, 0.5), (2.0, 3.0)]
)
def test_words_are_drawn_by_their_share_to_the_power_of_one_over_the_temperature(
    smoothing, temperature
):
    model = base("categorical", categories=6, smoothing=smoothing)
    texts = ["w1 w5"] * 5 + ["w2 w5"] * 3 + ["w4 w0"] * 2
    found = [text.split() for text in drawn(fitted(model, *texts), 4000, temperature=temperature)]
    for place, counts in enumerate(([0, 5, 3, 0, 2, 0], [2, 0, 0, 0, 0, 8])):
        weights = (np.array(counts) + smoothing) ** (1 / temperature)
        expected = 4000 * weights / weights.sum()
        seen = np.bincount([int(words[place][1:]) for words in found], minlength=6)
        assert not seen[expected == 0].any()
        at = expected > 0
        assert stats.chisquare(seen[at], expected[at]).pvalue > 1e-4


def shares_at(model, place, words=4):
    """The probability of each word at a place, by what it costs there."""
    rows = [["w0", "w0"] for _ in range(words)]
    for word, row in enumerate(rows):
        row[place] = f"w{word}"
    return np.array([math.exp(-model.token_nll([" ".join(row)])[0][place]) for row in rows])


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_child_is_the_mixture_of_its_parents_distributions(smoothing, tmp_path):
    start = base("categorical", categories=4, smoothing=smoothing)
    # Of 2 and of 5 documents, so their counts weigh differently.
    one, two = fitted(start, "w0 w1", "w2 w1"), fitted(start, *["w0 w3"] * 4, "w1 w1")
    child = start.crossed([one, start, two], [0.5, 0.2, 0.3])
    child.save(tmp_path)
    for model in (child, start.load(tmp_path)):
        for place in range(2):
            expected = 0.5 * shares_at(one, place) + 0.3 * shares_at(two, place) + 0.2 / 4
            assert shares_at(model, place) == pytest.approx(expected)
    # What it draws: 5 standard deviations of a binomial.
    texts = drawn(child, 4000)
    for word, share in enumerate(shares_at(child, 0)):
        counted = sum(text.split()[0] == f"w{word}" for text in texts)
        assert abs(counted - 4000 * share) < 5 * math.sqrt(4000 * share * (1 - share))
    # Words that no parent with a weight has counted are not kept.
    assert start.crossed([one, two], [1.0, 0.0]).support.tolist() == one.support.tolist()
    assert start.crossed([start], [1.0]).num_positions is None


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_by_layer_each_position_comes_whole_from_one_parent(smoothing):
    start = base("categorical", categories=4, smoothing=smoothing)
    one, two = fitted(start, "w0 w1", "w2 w1"), fitted(start, *["w0 w3"] * 4, "w1 w3")
    drawn_parents = set()
    for seed in range(12):
        child = start.crossed([one, two], [1, 1], choose_layers=np.random.default_rng(seed))
        drawn_parents.add(
            tuple(
                [
                    shares_at(child, place) == pytest.approx(shares_at(parent, place))
                    for parent in (one, two)
                ].index(True)
                for place in range(2)
            )
        )
    # Each of the four ways is missing from 12 draws with probability 0.75^12 = 0.03.
    assert drawn_parents == {(0, 0), (0, 1), (1, 0), (1, 1)}
    child = start.crossed([one, two], [0, 5], choose_layers=np.random.default_rng(0))
    assert shares_at(child, 0) == pytest.approx(shares_at(two, 0))


def test_a_toy_that_cannot_be_crossed_is_an_error():
    start = base("categorical", categories=4)
    one, other = fitted(start, "w0 w1"), fitted(start, "w0 w1 w2")
    for weights, shown in (([1.5, -0.5], "1.5, -0.5"), ([0.5, 0.6], "0.5, 0.6")):
        with pytest.raises(tm.ModelError) as caught:
            start.crossed([one, one], weights)
        assert str(caught.value) == (
            f"crossed: categorical: weights {shown}: a mixture of distributions takes weights of "
            "at least 0 that add up to 1"
        )
    with pytest.raises(tm.ModelError) as caught:
        start.crossed([one, other], [0.5, 0.5])
    assert str(caught.value) == (
        "crossed: categorical: the parents' documents have 2 and 3 words; expected as many in each"
    )
    five = fitted(base("categorical", categories=5), "w0 w1")
    with pytest.raises(tm.ModelError, match="parent 2 is fitted on categorical "):
        start.crossed([one, five], [0.5, 0.5])


# --- Gaussian -------------------------------------------------------------------------------


def test_a_number_costs_what_the_density_of_its_place_says():
    model = fitted(base("gaussian"), "1 10", "2 10.5", "6 11.5")
    for place, values in enumerate(([1, 2, 6], [10, 10.5, 11.5])):
        fit = stats.norm(np.mean(values), np.std(values, ddof=1))
        (nll,) = model.token_nll(["3 9.5"])
        assert nll[place] == pytest.approx(-fit.logpdf([3, 9.5][place]))
    (nll,) = base("gaussian").token_nll(["0.7"])
    assert nll.tolist() == pytest.approx([-stats.norm.logpdf(0.7), 0])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_numbers_are_drawn_with_the_variance_times_the_temperature(temperature):
    model = fitted(base("gaussian"), "1 -3", "2 -5", "6 -7")
    texts = drawn(model, 4000, temperature=temperature)
    found = np.array([text.split() for text in texts], float)
    for place, values in enumerate(([1, 2, 6], [-3, -5, -7])):
        scale = np.std(values, ddof=1) * math.sqrt(temperature)
        fit = stats.kstest(found[:, place], stats.norm(np.mean(values), scale).cdf)
        assert fit.pvalue > 1e-4


# --- both -----------------------------------------------------------------------------------

TEXTS = {"categorical": ("w0 w7", "w3 w7", "w3 w5"), "gaussian": ("1 5", "2 7", "-3.25 1e-3")}
TOYS = pytest.mark.parametrize("name", list(TEXTS))


@TOYS
def test_what_is_saved_and_loaded_scores_and_draws_the_same(name, tmp_path):
    model = fitted(base(name), *TEXTS[name])
    model.save(tmp_path / "model")
    again = base(name).load(tmp_path / "model")
    assert drawn(again, 20) == drawn(model, 20)
    for one, other in zip(again.token_nll(TEXTS[name]), model.token_nll(TEXTS[name]), strict=True):
        assert one.tolist() == other.tolist()


@TOYS
def test_a_document_depends_on_its_own_stream_alone(name, monkeypatch):
    model = fitted(base(name), *TEXTS[name])
    before = drawn(model, 7)
    assert drawn(model, 5) == before[:5]
    monkeypatch.setattr(independent_positions, "_AT_ONCE", 6)  # two documents
    assert drawn(model, 7) == before
    assert drawn(model, 7, seed=1) != before


@TOYS
def test_learning_forgets_what_was_learned_before(name):
    once = fitted(base(name), *TEXTS[name])
    twice = fitted(fitted(base(name), *TEXTS[name][::2]), *TEXTS[name])
    assert twice.token_nll(TEXTS[name])[0].tolist() == once.token_nll(TEXTS[name])[0].tolist()


@TOYS
def test_ids_are_one_a_word_and_an_end_that_no_word_has(name):
    model = base(name)
    for ids in model.encode(TEXTS[name]):
        assert len(ids) == 3
        assert ids[-1] == 0
        assert 0 < min(ids[:-1]) <= max(ids[:-1]) < model.vocabulary_size
    assert model.beginning("w1 w2 w3", 2) == "w1 w2"


@TOYS
def test_what_a_toy_cannot_do_is_an_error(name, tmp_path):
    model, text = base(name), TEXTS[name][0]
    with pytest.raises(tm.ModelError, match=f"{name}: the base model has learned nothing to be dr"):
        model.sample(SAMPLE, num_tokens=3, stream=lambda index: stream(0, index))
    with pytest.raises(tm.ModelError, match=f"{name}: the base model has learned nothing to be sa"):
        model.save(tmp_path / "model")
    with pytest.raises(tm.ModelError, match=f"{name}: .*model.safetensors: cannot be read"):
        model.load(tmp_path)
    with pytest.raises(tm.ModelError, match=f"{name}: takes no prompt"):
        model.token_nll([text], ["w0"])
    with pytest.raises(tm.ModelError, match="document h1 has 3 words, document h0 has 2: expected"):
        fitted(model, text, f"{text} {text.split()[0]}")
    with pytest.raises(tm.ModelError, match=r"sample.max_new_tokens: 2: .* 3 tokens, its end incl"):
        drawn(fitted(model, *TEXTS[name]), 1, max_new_tokens=2)


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("categorical", ["w0 w8"], "'w8': expected words w0 to w7; raise model.categories"),
        ("categorical", ["w0 cat"], "'cat': expected words w0 to w7"),
        ("gaussian", ["1 two"], "'two': expected numbers, such as 0.25"),
        ("gaussian", ["1 nan"], "nan or inf among the numbers"),
        ("gaussian", ["1 2", "2 2"], "word 2 is the same in all 2 documents .* give more"),
        ("gaussian", ["1 2"], "word 1 is the same in all 1 documents"),
    ],
)
def test_text_that_a_toy_cannot_learn_from_is_an_error(name, texts, message):
    model = base(name, categories=8) if name == "categorical" else base(name)
    with pytest.raises(tm.ModelError, match=f"{name}: .*{message}"):
        fitted(model, *texts)
