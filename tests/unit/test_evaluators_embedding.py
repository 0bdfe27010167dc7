"""Clouds of documents in a model's space: the geometry beside the papers' own code."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mauve.compute_mauve import compute_mauve, get_divergence_curve_for_multinomials
from prdc import compute_prdc
from sklearn.metrics import auc
from transformers import AutoModel, BertConfig, BertModel
from vendi_score import vendi

from textmad import testing
from textmad.errors import ModelError
from textmad.evaluators import Embedding
from textmad.evaluators.embedding import frontier_area, mauve, neighbourhood_overlap, vendi_score
from textmad.evaluators.held_out import reference_passages
from textmad.models.causal_lm.encoder import open_encoder
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import ModelSettings
from textmad.testing import check_evaluator
from textmad.testing.synthetic import ToyModel

TEXTS = ["the cat sat on the mat", "tea", "é 漢字 🙂", "", "x" * 200]  # 64 positions


def clouds(shift, num=120, dimensions=12):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, num, dimensions))
    return one, other + shift


# --- the geometry ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "q"), [([0.2, 0.3, 0.5, 0.0], [0.5, 0.1, 0.0, 0.4]), ([1.0, 0.0], [0.0, 1.0])]
)
def test_the_area_under_the_frontier_is_that_of_mauve_text(p, q):
    p, q = np.array(p), np.array(q)
    curve = get_divergence_curve_for_multinomials(p, q, np.linspace(1e-6, 1 - 1e-6, 25), 5)
    x, y = curve.T
    expected = (auc(np.sort(x), y[np.argsort(x)]) + auc(np.sort(y), x[np.argsort(y)])) / 2
    assert frontier_area(p, q) == pytest.approx(expected, rel=1e-12)
    assert frontier_area(q, p) == pytest.approx(frontier_area(p, q), rel=1e-12)


def test_mauve_is_near_that_of_mauve_text_whose_clusters_begin_elsewhere():
    for shift in (0.0, 1.0):
        one, other = clouds(shift)
        theirs = compute_mauve(p_features=one, q_features=other).mauve
        assert mauve(one, other) == pytest.approx(theirs, abs=0.12)
    assert mauve(one, one) == 1.0


def test_mauve_falls_as_clouds_part_and_gives_the_same_number_each_time():
    near, mid, far = (mauve(*clouds(shift)) for shift in (0.0, 0.5, 3.0))
    assert near > mid > far
    assert far < 0.02
    assert mauve(*clouds(0.5)) == mid


def test_mauve_of_a_text_that_says_one_thing_only_is_small_and_no_error():
    one, _ = clouds(0.0)
    assert mauve(np.repeat(one[:1], 120, axis=0), one) < 0.1


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_overlap_is_that_of_prdc(shift):
    reference, points = clouds(shift)
    found = neighbourhood_overlap(points, reference, neighbours=5)
    assert found._asdict() == pytest.approx(compute_prdc(reference, points, nearest_k=5))


def test_the_overlap_of_four_points_on_a_line():
    # With one neighbour the balls of 0, 1, 10, 11 end short of 1 away. 0.5 lies in those of 0 and
    # 1; 10.2 in those of 10 and 11; 5 and 6 in none. Of the cloud 0.5, 5, 6, 10.2 the balls end at
    # 4.5, 1, 1, 4.2, so 0, 1, 10 and 11 are all in one.
    reference = np.array([[0.0], [1.0], [10.0], [11.0]])
    points = np.array([[0.5], [5.0], [6.0], [10.2]])
    found = neighbourhood_overlap(points, reference, neighbours=1)
    assert found == (2 / 4, 1.0, 4 / 4, 1.0)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_the_vendi_score_is_that_of_vendi_score(shape):
    points = np.random.default_rng(1).normal(size=shape) + 1
    assert vendi_score(points) == pytest.approx(vendi.score_dual(points, normalize=True))


def test_the_vendi_score_counts_different_points():
    assert vendi_score(np.repeat(np.eye(4), 5, axis=0)) == pytest.approx(4)
    assert vendi_score(np.ones((6, 3))) == pytest.approx(1)


# --- the evaluator --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    return testing.checks._snapshot()  # 60 documents of each split, 40 held out


@pytest.fixture
def snapshot(whole):
    return replace(whole, run_cache={})


def measured(evaluator, snapshot):
    return {(m.metric, m.split): m for m in evaluator(snapshot)}


def test_the_evaluator_keeps_the_contract():
    check_evaluator(Embedding())


def test_each_split_is_held_against_held_out_text_of_as_many_documents(snapshot):
    found = measured(Embedding(documents=15), snapshot)
    assert {m.n for m in found.values()} == {15}
    assert {m.n for m in Embedding()(snapshot)} == {20}  # half of the held-out documents
    embedded = {split: np.array(snapshot.base.embed(snapshot.compared(split)[:15])) for split in
                ("drawn", "human")}  # fmt: skip
    assert found["vendi_score", "drawn"].value == vendi_score(embedded["drawn"])
    reference = list(reference_passages(snapshot, 40).texts)
    copies = replace(snapshot, texts={"drawn": reference}, num_documents=20)
    same = measured(Embedding(), copies)
    assert same["mauve", "drawn"].value == pytest.approx(1.0)
    assert same["embedding_coverage", "drawn"].value == 1.0


def test_human_text_is_embedded_once_a_run(snapshot):
    asked = []

    class Listening(ToyModel):
        def embed(self, texts):
            asked.append(tuple(texts))
            return super().embed(texts)

    cache, base = {}, Listening(7)
    for _ in range(2):
        Embedding()(replace(snapshot, base=base, run_cache=cache))
    assert len(asked) == 7  # held out, human, base; drawn and kept, twice
    assert asked.count(tuple(snapshot.texts["human"])) == 1


def test_what_cannot_be_computed_is_nan_with_a_note(snapshot):
    class Plain:
        name = "plain"

    notes = {
        "too few drawn documents": replace(snapshot, texts={}),
        "5 documents: too few for 5 neighbours each": replace(snapshot, num_documents=5),
        "the model plain has no embed": replace(snapshot, base=Plain()),
    }
    for note, changed in notes.items():
        missing = measured(Embedding(), changed)["mauve", "drawn"]
        assert math.isnan(missing.value)
        assert missing.note == note


def test_a_given_encoder_takes_the_place_of_the_base(snapshot):
    other = ToyModel(7)
    opened = []

    def open_named(name):
        opened.append(name)
        return other

    given = replace(snapshot, base=object(), open_encoder=open_named)
    assert Embedding(encoder="minilm")(given) == Embedding()(snapshot)
    assert set(opened) == {"minilm"}


# --- the models -----------------------------------------------------------------------------


@pytest.fixture(params=["gpt2", "llama"])
def base(request, tiny_gpt2_folder, tiny_llama_folder):
    folder = tiny_gpt2_folder if request.param == "gpt2" else tiny_llama_folder
    return CausalLM.open(ModelSettings(base=str(folder), lora=None)), folder


def test_a_text_is_the_mean_of_the_last_states_at_its_tokens(base):
    model, folder = base
    plain = AutoModel.from_pretrained(folder, dtype=torch.float32)
    found = model.embed(TEXTS)
    assert len(found) == len(TEXTS)
    for text, vector in zip(TEXTS[:3], found, strict=False):
        ids = [model._base.start, *model.encode([text])[0][:-1].tolist()]
        with torch.no_grad():
            states = plain(input_ids=torch.tensor([ids])).last_hidden_state[0, 1:]
        np.testing.assert_allclose(vector, states.double().mean(0), atol=1e-5)
    assert np.isfinite(found).all()  # an empty text has its start token's state


def test_where_a_text_lies_does_not_depend_on_those_beside_it(base):
    model, _ = base
    for text, vector in zip(TEXTS, model.embed(TEXTS), strict=True):
        np.testing.assert_allclose(vector, model.embed([text])[0], atol=1e-5)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory, tiny_models) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tiny_models.VOCABULARY, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    return tiny_models.save(BertModel(config), tmp_path_factory.mktemp("encoder"))


def test_an_encoder_sees_both_ways_and_leaves_padding_out(encoder_folder, tiny_models):
    found = open_encoder(str(encoder_folder)).embed(TEXTS)
    plain = BertModel.from_pretrained(encoder_folder).eval()
    tokenizer = tiny_models.byte_tokenizer()
    for text, vector in zip(TEXTS, found, strict=True):
        ids = tokenizer(text)["input_ids"][:64] or [0]
        with torch.no_grad():
            states = plain(input_ids=torch.tensor([ids])).last_hidden_state[0]
        np.testing.assert_allclose(vector, states.double().mean(0), atol=1e-5)


def test_an_encoder_that_is_not_safe_or_not_there_is_an_error(encoder_folder, tmp_path):
    with pytest.raises(ModelError, match=r"^encoder: no/such/one: expected tiny-gpt2, "):
        open_encoder("no/such/one")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelError, match=r"^encoder: .* as pickles only"):
        open_encoder(str(tmp_path))
    for path in encoder_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"^encoder: .*: no tokenizer\.json in "):
        open_encoder(str(tmp_path))
