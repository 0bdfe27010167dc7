"""Children of several models: sums of adapters and of all weights, by weight and by layer."""

import copy
import doctest
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from textmad.errors import ModelError
from textmad.models.causal_lm import crossing
from textmad.models.causal_lm.model import CausalLM
from textmad.models.opening import open_model
from textmad.models.protocol import SupportsCrossing
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, TrainSettings
from textmad.text.documents import documents

TRAIN = TrainSettings(epochs=3, batch_tokens=64, learning_rate=2e-2)
TEXTS = ["the cat", "", "a longer text than the others", "tea at ten"]
CORPORA = [
    documents({"text": ["the cat sat on the mat", "that is this", "tea at ten"]}),
    documents({"text": ["zebras run", "a dog barked at 3 o'clock", "no, never", "x y z"]}),
    documents({"text": ["1 + 1 = 2", "(a, b)", "hello, hello!"]}),
]
# Parents of other ranks, scales and targets than each other and than the base that crosses them.
ADAPTERS = {
    "gpt2": [
        LoraSettings(rank=4, alpha=8.0),
        LoraSettings(rank=2, alpha=5.0, targets=("c_attn", "c_fc")),
        LoraSettings(rank=5, alpha=3.0, targets=("attn.c_proj", "c_attn")),
    ],
    "llama": [
        LoraSettings(rank=4, alpha=8.0),
        LoraSettings(rank=2, alpha=5.0, targets=("q_proj", "down_proj")),
        LoraSettings(rank=5, alpha=3.0, targets=("k_proj", "q_proj")),
    ],
}

Delta = dict[str, torch.Tensor]


def opened(folder: Path, adapter: LoraSettings | None, **settings: object) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(folder), lora=adapter, **settings))


def fitted(base: CausalLM, number: int) -> CausalLM:
    """A model that has learned corpus `number`."""
    model = base.fit(CORPORA[number], TRAIN, seed=number).model
    assert isinstance(model, CausalLM)
    return model


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def family(
    request: pytest.FixtureRequest, tiny_gpt2_folder: Path, tiny_llama_folder: Path
) -> tuple[CausalLM, list[CausalLM]]:
    """A base model, and two parents of ranks 2 and 5."""
    folder = {"gpt2": tiny_gpt2_folder, "llama": tiny_llama_folder}[request.param]
    base, *others = (opened(folder, adapter) for adapter in ADAPTERS[request.param])
    return base, [fitted(other, number) for number, other in enumerate(others)]


@pytest.fixture(scope="module")
def base(tiny_gpt2_folder: Path) -> CausalLM:
    return opened(tiny_gpt2_folder, ADAPTERS["gpt2"][0])


@pytest.fixture(scope="module")
def three(base: CausalLM) -> list[CausalLM]:
    """Three models of rank 4 on all linear modules."""
    return [fitted(base, number) for number in range(3)]


@pytest.fixture(scope="module")
def full(tiny_gpt2_folder: Path) -> tuple[CausalLM, list[CausalLM]]:
    """A base model whose weights are all trained, and two models fitted on it."""
    base = opened(tiny_gpt2_folder, None)
    return base, [fitted(base, number) for number in range(2)]


def delta(model: CausalLM) -> Delta:
    """What a model has added to each weight, float64; weights that it left alone are not there."""
    before = dict(model._base.network.named_parameters())
    after = dict(model._network.named_parameters())
    changes = {name: after[name].double() - weight.double() for name, weight in before.items()}
    return {name: change for name, change in changes.items() if change.any()}


def dense(base: CausalLM, parents: list[CausalLM], weights: list[float]) -> PreTrainedModel:
    """W0 + sum_i w_i s_i B_i A_i in float64, spelled out."""
    network = copy.deepcopy(base._base.network).double()
    for parent, weight in zip(parents, weights, strict=True):
        shape, adapter = parent.settings.lora, parent._weights.adapter
        assert shape is not None
        assert adapter is not None
        for name, module in network.named_modules():
            factor = f"base_model.model.{name}.lora_%s.weight"
            if factor % "A" in adapter:
                change = adapter[factor % "B"].double() @ adapter[factor % "A"].double()
                change = change.T if isinstance(module, Conv1D) else change
                module.weight.data += weight * shape.alpha / shape.rank * change
    return network


def logits(network: PreTrainedModel) -> torch.Tensor:
    """Of fixed ids, (time, vocabulary), computed in float64."""
    ids = torch.arange(40)[None]
    with torch.no_grad():
        result: torch.Tensor = copy.deepcopy(network).double()(input_ids=ids).logits[0]
    return result


def rank_of(model: CausalLM) -> int:
    assert model._weights.crossed_shape is not None
    return model._weights.crossed_shape.rank


def assert_same_scores(one: CausalLM, two: CausalLM) -> None:
    for first, second in zip(one.token_nll(TEXTS), two.token_nll(TEXTS), strict=True):
        assert np.array_equal(first, second)


def assert_close(one: Delta, two: Delta, tolerance: float = 1e-6) -> None:
    assert one.keys() == two.keys()
    for name, change in one.items():
        assert float((change - two[name]).abs().max()) < tolerance, name


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(crossing).failed == 0


def test_the_loop_can_ask_a_model_whether_it_crosses(base: CausalLM) -> None:
    assert isinstance(base, SupportsCrossing)
    toys = {
        name: open_model(ModelSettings(base=name), SampleSettings(max_new_tokens=8))
        for name in ("categorical", "gaussian")
    }
    assert isinstance(toys["categorical"], SupportsCrossing)
    assert not isinstance(toys["gaussian"], SupportsCrossing)  # a mixture of two is not Gaussian


# --- sums of adapters -----------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[0.5, 0.5], [1.5, -0.7], [0.3, 0.0]])
def test_a_child_is_the_sum_of_its_parents_products(
    family: tuple[CausalLM, list[CausalLM]], weights: list[float]
) -> None:
    base, parents = family
    child = base.crossed(parents, weights)
    expected = logits(dense(base, parents, weights))
    assert float((logits(child._network) - expected).abs().max()) < 1e-5
    assert float((expected - logits(base._base.network)).abs().max()) > 0.1
    # Ranks 2 and 5 stand side by side in the modules that both adapt.
    assert rank_of(child) == sum(
        rank for rank, weight in zip((2, 5), weights, strict=True) if weight
    )


def test_a_child_scores_samples_and_embeds_as_its_exported_weights_do(
    family: tuple[CausalLM, list[CausalLM]], tmp_path: Path
) -> None:
    base, parents = family
    child = base.crossed(parents, [0.6, 0.4])
    child.export(tmp_path / "exported")
    again = CausalLM.open(base.settings.model_copy(update={"base": str(tmp_path / "exported")}))
    for one, two in zip(child.token_nll(TEXTS), again.token_nll(TEXTS), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    for one, two in zip(child.embed(TEXTS), again.embed(TEXTS), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    settings, stream = SampleSettings(max_new_tokens=8), np.random.default_rng
    drawn = [model.sample(settings, num_tokens=60, stream=stream) for model in (child, again)]
    assert drawn[0] == drawn[1]
    norms = {change.name: change.update for change in child.weight_changes()}
    assert norms == {
        name: pytest.approx(float(change.norm()), rel=1e-5) for name, change in delta(child).items()
    }


def test_weight_minus_one_is_the_step_in_the_other_direction(
    base: CausalLM, three: list[CausalLM]
) -> None:
    away, back = base.crossed(three[:1], [-1]), base.crossed(three[:1], [1])
    forth = delta(three[0])
    assert max(float(change.abs().max()) for change in forth.values()) > 0.01
    assert_close(delta(back), forth)
    assert_close(delta(away), {name: -change for name, change in forth.items()})


def test_a_base_model_as_a_parent_adds_nothing(base: CausalLM, three: list[CausalLM]) -> None:
    child = base.crossed([three[0], base], [0.5, 0.5])
    assert_close(delta(child), {name: change / 2 for name, change in delta(three[0]).items()})
    assert_same_scores(base.crossed([base], [1.0]), base)


def test_what_the_base_model_has_learned_since_has_no_part_in_the_crossing(
    base: CausalLM, three: list[CausalLM]
) -> None:
    assert_same_scores(three[2].crossed(three[:2], [1, -1]), base.crossed(three[:2], [1, -1]))


def test_a_child_shares_the_base_models_tensors(base: CausalLM, three: list[CausalLM]) -> None:
    before = dict(base._base.network.named_parameters())
    child = base.crossed(three, [1, 1, 1])
    for name, weight in child._network.named_parameters():
        is_adapted = name.endswith("weight") and ".h." in name and "ln" not in name
        assert (weight is before[name]) != is_adapted, name


def test_below_float32_a_child_is_float32(tiny_gpt2_folder: Path) -> None:
    for adapter in (ADAPTERS["gpt2"][0], None):
        base = opened(tiny_gpt2_folder, adapter, dtype="bfloat16")
        parents = [fitted(base, number) for number in range(2)]
        child = base.crossed(parents, [0.5, 0.5])
        assert child._network.dtype == torch.float32
        one, two = map(delta, parents)
        assert_close(delta(child), {name: (one[name] + two[name]) / 2 for name in one})
        again = child.fit(CORPORA[2], TRAIN, seed=0).model
        assert sum(map(np.sum, again.token_nll(TEXTS))) != sum(map(np.sum, child.token_nll(TEXTS)))


# --- rank -----------------------------------------------------------------------------------


def test_children_of_common_parents_keep_one_term_of_each_parent(
    base: CausalLM, three: list[CausalLM]
) -> None:
    a, b, c = three
    one, two = base.crossed([a, b], [0.5, 0.5]), base.crossed([a, c], [0.5, 0.5])
    grandchild = base.crossed([one, two], [0.5, 0.5])
    assert [rank_of(model) for model in (one, two, grandchild)] == [8, 8, 12]
    changes = [delta(model) for model in three]
    expected = {
        name: sum(
            share * each[name] for share, each in zip((0.5, 0.25, 0.25), changes, strict=True)
        )
        for name in changes[0]
    }
    assert_close(delta(grandchild), expected)
    assert rank_of(base.crossed([one, one], [1, -1])) == 1  # all of it cancels
    assert_same_scores(base.crossed([one, one], [1, -1]), base)


def test_the_rank_stays_bounded_over_ten_generations(base: CausalLM) -> None:
    # Each generation adds a fresh adapter of rank 4 to each line; matrices have 32 rows or more.
    train = TRAIN.model_copy(update={"epochs": 1.0})
    pair, ranks = [fitted(base, 0), fitted(base, 1)], []
    for generation in range(10):
        children = [base.crossed(pair, weights) for weights in ([0.7, 0.3], [0.4, 0.6])]
        one, two = map(delta, pair)
        assert_close(delta(children[0]), {n: 0.7 * one[n] + 0.3 * two[n] for n in one}, 5e-6)
        pair = [
            child.fit(CORPORA[number], train, seed=2 * generation + number).model
            for number, child in enumerate(children)
        ]
        ranks.append(max(map(rank_of, pair)))
    # The terms of both parents and the fresh ones; the next parents share all but the fresh ones.
    assert ranks[:3] == [4 + 4 + 4, 12 + 4 + 4, 20 + 4 + 4]
    assert ranks[3:] == [32] * 7  # the smaller side of every matrix
    adapter = pair[0]._weights.adapter
    assert adapter is not None
    assert all(32 in tensor.shape for tensor in adapter.values())


# --- by layer -------------------------------------------------------------------------------


def test_by_layer_every_layer_comes_whole_from_one_parent(
    base: CausalLM, three: list[CausalLM]
) -> None:
    changes, drawn = [delta(model) for model in three], set()
    for seed in range(8):
        child = base.crossed(three, [1, 1, 2], choose_layers=np.random.default_rng(seed))
        found, parents = delta(child), []
        assert found.keys() == changes[0].keys()
        for layer in ("transformer.h.0.", "transformer.h.1."):
            names = [name for name in found if name.startswith(layer)]
            assert len(names) == 4
            parents += [
                number
                for number, change in enumerate(changes)
                if all(float((found[name] - change[name]).abs().max()) < 1e-6 for name in names)
            ]
        assert len(parents) == 2  # one parent each
        drawn.add(tuple(parents))
    assert {parent for pair in drawn for parent in pair} == {0, 1, 2}
    assert any(first != second for first, second in drawn)


def test_chances_of_layers_are_proportional_to_the_weights() -> None:
    modules = [f"h.{layer}.{part}" for layer in range(4000) for part in ("a", "b")]
    shares = crossing.coefficients(modules, [1.0, 0.0, 3.0], np.random.default_rng(0))
    counts = np.array([shares[module] for module in modules[::2]]).sum(0)
    assert counts.sum() == 4000
    assert counts[1] == 0
    # Binomial: 1000 expected of the first, standard deviation sqrt(4000 / 4 * 3 / 4) = 27.4.
    assert abs(counts[0] - 1000) < 5 * 27.4
    assert all(shares[f"h.{layer}.a"] == shares[f"h.{layer}.b"] for layer in range(4000))


def test_modules_outside_all_layers_count_as_a_layer_each() -> None:
    modules = [f"outside_{number}" for number in range(64)]
    shares = crossing.coefficients(modules, [1.0, 1.0], np.random.default_rng(0))
    assert {tuple(share) for share in shares.values()} == {(1.0, 0.0), (0.0, 1.0)}


def test_a_layer_of_the_base_model_is_as_it_was(base: CausalLM, three: list[CausalLM]) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        child = base.crossed([base, three[0]], [1, 1], choose_layers=rng)
        layers = {name.split(".")[2] for name in delta(child)}
        if len(layers) == 1:
            assert all(f".h.{layer}." in name for layer in layers for name in delta(child))
            return
    pytest.fail("in 20 draws of 2 layers, with probability 2^-20, no child had a layer of each")


# --- on disk --------------------------------------------------------------------------------


def test_a_saved_child_is_loaded_exactly_and_opened_by_peft(
    family: tuple[CausalLM, list[CausalLM]], tmp_path: Path
) -> None:
    base, parents = family
    child = base.crossed(parents, [0.8, -0.3])
    fitted_child = child.fit(CORPORA[2], TRAIN, seed=0).model
    for model in (child, fitted_child):
        folder = tmp_path / f"rank-{rank_of(model)}"
        model.save(folder)
        again = base.load(folder)
        assert_same_scores(model, again)
        assert rank_of(again) == rank_of(model)
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["r"] == config["lora_alpha"] == rank_of(model)
        network = peft.AutoPeftModelForCausalLM.from_pretrained(folder).eval()
        assert float((logits(network) - logits(model._network)).abs().max()) < 1e-5
    again.save(tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_peft_opens_a_child_of_parents_that_adapt_other_modules_in_other_layers(
    tiny_models: ModuleType, tmp_path: Path
) -> None:
    # From 20 names of modules on, peft replaces them by the shortest endings that it finds.
    config = tiny_models.llama().config
    config.num_hidden_layers = 5
    torch.manual_seed(0)
    folder = tiny_models.save(LlamaForCausalLM(config), tmp_path / "base")
    base = opened(folder, ADAPTERS["llama"][0])
    some = [f"layers.{layer}.mlp.{part}_proj" for layer in (0, 2, 4) for part in ("up", "down")]
    parents = [
        fitted(opened(folder, LoraSettings(rank=3, targets=targets)), number)
        for number, targets in enumerate((("q_proj", "k_proj", "v_proj", "lm_head"), tuple(some)))
    ]
    child = base.crossed(parents, [1, 1])
    child.save(tmp_path / "child")
    network = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "child").eval()
    assert len(delta(child)) == 5 * 3 + 1 + 3 * 2
    assert float((logits(network) - logits(dense(base, parents, [1, 1]))).abs().max()) < 1e-5


def test_a_rank_that_no_crossing_accounts_for_is_refused(
    base: CausalLM, three: list[CausalLM], tmp_path: Path
) -> None:
    base.crossed(three[:2], [1, 1]).save(tmp_path)
    mark = tmp_path / "crossed.json"
    right = mark.read_text()
    mark.write_text(right.replace('"rank": 8', '"rank": 4'))
    with pytest.raises(ModelError, match="the adapter has r 8, the recipe 4"):
        base.load(tmp_path)
    mark.write_text(right[:20])
    with pytest.raises(ModelError, match="expected the rank, alpha and targets of a crossed adap"):
        base.load(tmp_path)
    mark.unlink()
    with pytest.raises(ModelError, match="the adapter has r 8, the recipe 4"):
        base.load(tmp_path)


# --- learning -------------------------------------------------------------------------------


def test_learning_adds_a_fresh_adapter_and_leaves_what_was_crossed(
    base: CausalLM, three: list[CausalLM]
) -> None:
    child = base.crossed(three[:2], [0.5, 0.5])
    before = {name: tensor.clone() for name, tensor in (child._weights.adapter or {}).items()}
    learned = child.fit(CORPORA[2], TRAIN, seed=7).model
    assert isinstance(learned, CausalLM)
    assert rank_of(learned) == 8 + 4
    adapter = learned._weights.adapter
    assert adapter is not None
    for name, tensor in before.items():
        assert torch.equal(tensor, (child._weights.adapter or {})[name])
        columns = tensor.T if ".lora_B." in name else tensor  # a term each
        found = adapter[name].T if ".lora_B." in name else adapter[name]
        assert torch.equal(found[:8], columns)
        assert found[8:].any(1).all()
    for name, change in delta(learned).items():
        moved = torch.linalg.svdvals(change - delta(child)[name])
        assert moved[3] > 1e-3  # rank 4 has moved
        assert moved[4] < 1e-5  # and no more than that
    nats = [sum(map(np.sum, model.token_nll(CORPORA[2]["text"]))) for model in (child, learned)]
    assert nats[1] < nats[0]


def test_learning_begins_where_the_crossing_stands(base: CausalLM, three: list[CausalLM]) -> None:
    child = base.crossed(three[:2], [1, 1])
    nats = child.token_nll(CORPORA[2]["text"])
    # The first step reads all documents; its loss is that of the model before the step.
    [first, *_] = child.fit(CORPORA[2], TrainSettings(batch_tokens=10**6), seed=0).curve
    assert first["loss"] == pytest.approx(sum(map(np.sum, nats)) / sum(map(len, nats)), abs=1e-5)
    start = base.token_nll(CORPORA[2]["text"])
    assert abs(sum(map(np.sum, nats)) - sum(map(np.sum, start))) > 1


def test_learning_on_a_crossing_that_cancels_is_learning_on_the_base_model(
    base: CausalLM, three: list[CausalLM]
) -> None:
    nothing = base.crossed(three[:1], [0])
    one, two = (model.fit(CORPORA[1], TRAIN, seed=3).model for model in (nothing, base))
    assert isinstance(one, CausalLM)
    assert isinstance(two, CausalLM)
    assert rank_of(one) == 4
    assert_close(delta(one), delta(two))
    other = nothing.fit(CORPORA[1], TRAIN, seed=4).model
    assert any(
        not np.array_equal(first, second)
        for first, second in zip(one.token_nll(TEXTS), other.token_nll(TEXTS), strict=True)
    )


def test_the_same_crossing_and_fit_give_the_same_bytes(
    base: CausalLM, three: list[CausalLM], tmp_path: Path
) -> None:
    for name in "ab":
        rng = np.random.default_rng(5)
        child = base.crossed(three, [1, 2, 3], choose_layers=rng)
        child.fit(CORPORA[0], TRAIN, seed=1).model.save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


# --- all weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[0.5, 0.5], [1.5, -0.7]])
def test_all_weights_of_a_child_are_the_sum_of_the_changes(
    full: tuple[CausalLM, list[CausalLM]], weights: list[float], tmp_path: Path
) -> None:
    base, parents = full
    child = base.crossed([*parents, base], [*weights, 9.0])
    one, two = map(delta, parents)
    assert "transformer.wte.weight" in one
    expected = {name: weights[0] * one[name] + weights[1] * two[name] for name in one}
    assert_close(delta(child), expected)
    network = child._network
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert not any(weight.requires_grad for weight in network.parameters())
    child.save(tmp_path)
    assert_same_scores(base.load(tmp_path), child)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert float((logits(theirs) - logits(network)).abs().max()) < 1e-5
    again = child.fit(CORPORA[2], TRAIN, seed=0).model
    assert_close(delta(child), expected)
    assert sum(map(np.sum, again.token_nll(CORPORA[2]["text"]))) < sum(
        map(np.sum, child.token_nll(CORPORA[2]["text"]))
    )


def test_all_weights_of_a_layer_come_from_one_parent(
    full: tuple[CausalLM, list[CausalLM]],
) -> None:
    base, parents = full
    changes = [delta(parent) for parent in parents]
    for seed in range(20):
        child = base.crossed(parents, [1, 1], choose_layers=np.random.default_rng(seed))
        of_layer: dict[str, set[int]] = {}
        for name, change in delta(child).items():
            layer = crossing.layer_of(name.rpartition(".")[0])
            [parent] = [
                number
                for number, each in enumerate(changes)
                if float((change - each[name]).abs().max()) < 1e-6
            ]
            of_layer.setdefault(layer, set()).add(parent)
        assert all(len(found) == 1 for found in of_layer.values())
        assert of_layer.keys() == {
            *("transformer.h.0", "transformer.h.1"),
            *("transformer.wte", "transformer.wpe", "transformer.ln_f"),
        }
        if len({next(iter(found)) for found in of_layer.values()}) == 2:
            return
    pytest.fail("20 times 5 layers, with probability 2^-80, came from one parent")


# --- what cannot be crossed -----------------------------------------------------------------


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        call()
    return str(caught.value)


def test_what_cannot_be_crossed_is_an_error_with_its_reason(
    base: CausalLM,
    three: list[CausalLM],
    full: tuple[CausalLM, list[CausalLM]],
    tiny_llama_folder: Path,
) -> None:
    one = three[0]
    rng = np.random.default_rng(0)
    assert refusal(lambda: base.crossed([], [])) == "crossed: no parents; expected at least one"
    assert refusal(lambda: base.crossed([one, one], [1.0])) == (
        "crossed: 2 parents and 1 weights; expected a weight for each parent"
    )
    assert refusal(lambda: base.crossed([one, one], [1.0, float("nan")])) == (
        "crossed: weight 2 is nan; expected a finite number"
    )
    assert refusal(lambda: base.crossed([one, one], [1, -0.5], choose_layers=rng)) == (
        "crossed: weight 2 is -0.5: by layer, weights are the chances of the parents; expected "
        "none below 0"
    )
    assert refusal(lambda: base.crossed([one], [0], choose_layers=rng)) == (
        "crossed: all weights are 0: by layer, weights are the chances of the parents; expected "
        "one above 0"
    )
    llama = fitted(opened(tiny_llama_folder, ADAPTERS["llama"][0]), 0)
    assert refusal(lambda: base.crossed([one, llama], [1, 1])) == (
        f"crossed: parent 2 is fitted on {llama.name} (digest {llama.digest[:12]}), expected the "
        f"base model {base.name} (digest {base.digest[:12]}); only models of one base model can "
        "be crossed"
    )
    gaussian = open_model(ModelSettings(base="gaussian"), SampleSettings(max_new_tokens=8))
    assert refusal(lambda: base.crossed([gaussian], [1])) == (
        "crossed: parent 1, gaussian, is a Gaussian; expected a CausalLM, as the base model is"
    )
    full_base, full_parents = full
    assert refusal(lambda: base.crossed([one, full_parents[0]], [1, 1])) == (
        "crossed: parent 2 has trained all weights, the base model is set to train an adapter; "
        "expected model.lora to be null in all of them or in none"
    )
    assert refusal(lambda: full_base.crossed([one], [1])) == (
        "crossed: parent 1 has trained an adapter, the base model is set to train all weights; "
        "expected model.lora to be null in all of them or in none"
    )
    # The base model itself has trained neither.
    assert_same_scores(base.crossed([full_base], [1]), base)
    assert_same_scores(full_base.crossed([base], [1]), full_base)
