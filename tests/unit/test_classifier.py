"""The classifier on the base model: it learns, reproducibly, and does not change that model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from textmad.errors import ModelError
from textmad.models.distributed import processes
from textmad.models.opening import open_model
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings

TARGETS = {"gpt2": ("c_attn", "c_fc"), "llama": ("q_proj", "v_proj", "up_proj")}
SAMPLE = SampleSettings(max_new_tokens=20)


def opened(folder, kind="gpt2", **changes):
    settings = ModelSettings(base=str(folder), lora=LoraSettings(rank=4, targets=TARGETS[kind]))
    return open_model(settings.model_copy(update=changes), SAMPLE)


def lessons(num, seed=0):
    """Texts of 4 to 20 letters, accepted where they begin with a vowel."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcde"))
    texts = ["".join(rng.choice(letters, rng.integers(4, 21))) for _ in range(num)]
    return texts, [text[0] in "ae" for text in texts]


def fitted(model, seed=0):
    texts, accepted = lessons(96)
    return model.fit_classifier(texts, accepted, epochs=4, learning_rate=2e-2, seed=seed)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request, tiny_gpt2_folder, tiny_llama_folder):
    folder = {"gpt2": tiny_gpt2_folder, "llama": tiny_llama_folder}[request.param]
    return opened(folder, request.param)


@pytest.fixture(scope="module")
def classify(tiny_gpt2_folder):
    return fitted(opened(tiny_gpt2_folder))


def test_it_tells_accepted_from_rejected_texts_that_it_has_not_seen(model):
    texts, accepted = lessons(200, seed=1)
    found = fitted(model)(texts)
    assert found.dtype == np.float64
    # Two of five letters are accepted: saying no to all would be right three times in five.
    assert ((found > 0.5) == accepted).mean() > 0.75


def test_it_learns_in_bfloat16_too(tiny_gpt2_folder):
    texts, accepted = lessons(200, seed=1)
    found = fitted(opened(tiny_gpt2_folder, dtype="bfloat16"))(texts)
    assert ((found > 0.5) == accepted).mean() > 0.75


def test_the_base_stays_as_it_is_and_so_does_the_global_randomness(tiny_gpt2_folder):
    model = opened(tiny_gpt2_folder)
    texts, _ = lessons(10)
    before, state = model.token_nll(texts), torch.get_rng_state()
    fitted(model)(texts)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(before, model.token_nll(texts), strict=True):
        assert one.tolist() == other.tolist()


def test_the_same_seed_learns_the_same_to_the_last_bit(tiny_gpt2_folder, classify):
    texts, _ = lessons(20, seed=1)
    model = opened(tiny_gpt2_folder)
    again, other = (fitted(model, seed)(texts).tolist() for seed in (0, 1))
    assert classify(texts).tolist() == again
    assert again != other


def test_a_text_has_one_probability_whatever_stands_beside_it(classify):
    texts = ["abc", "eda" * 6, "b", "cab" * 3, ""]
    together = classify(texts)
    assert together == pytest.approx(np.concatenate([classify([text]) for text in texts]), abs=1e-5)
    assert classify([]).shape == (0,)


def test_a_text_longer_than_the_context_is_read_from_its_beginning(classify):
    # 64 positions: the start token, 62 letters and the end token.
    long, cut, other = classify(["a" * 500, "a" * 62, "a" * 61])
    assert long == cut != other


def test_one_of_several_processes_learns_alone(tiny_gpt2_folder, classify, monkeypatch):
    texts, _ = lessons(10)
    model = opened(tiny_gpt2_folder)
    several = SimpleNamespace(process_index=0, num_processes=2, device=torch.device("cpu"))
    monkeypatch.setattr(processes, "_state", lambda: several)
    assert (processes.rank(), processes.world_size()) == (0, 2)
    # There is no other process, so a call that waits for one would fail.
    assert fitted(model)(texts).tolist() == classify(texts).tolist()
    assert processes.world_size() == 2


def test_without_an_adapter_to_be_shaped_like_there_is_no_classifier(tiny_gpt2_folder):
    with pytest.raises(ModelError, match=r"^model\.lora: null: a classifier is a low-rank adapter"):
        fitted(opened(tiny_gpt2_folder, lora=None))
