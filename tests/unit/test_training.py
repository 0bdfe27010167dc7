"""Training, on a GPT-2 of 1 layer x 16; what several processes do is tests/invariants' matter."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import GPT2Config, GPT2LMHeadModel

from textmad.models.causal_lm.batches import IGNORED, Example
from textmad.models.causal_lm.packed_attention import can_pack
from textmad.models.causal_lm.training import learning_rate, plan_steps, train
from textmad.recipe import TrainSettings

VOCABULARY = 50
ONE_STEP = TrainSettings(batch_tokens=10_000, warmup=0, decay="none", max_grad_norm=1e9)


def gpt2(dropout: float = 0.0) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=128,
        n_embd=16,
        n_layer=1,
        n_head=2,
        initializer_range=0.3,  # far from uniform, so that every document pulls its own way
        **{f"{place}_pdrop": dropout for place in ("resid", "embd", "attn")},
    )
    return GPT2LMHeadModel(config)


def document(num_targets: int, seed: int = 0, prompt: int = 0) -> Example:
    """Random tokens, of which the first `prompt` are not learned from."""
    rng = np.random.default_rng([seed, num_targets])
    # Half of the vocabulary: documents of different lengths teach different words.
    ids = rng.integers(0, VOCABULARY // 2, num_targets + prompt + 1) + num_targets % 2 * 25
    labels = ids[1:].copy()
    labels[:prompt] = IGNORED
    return Example(ids[:-1], labels)


@contextmanager
def seen_by_the_optimizer(model: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """The gradient of each step as one vector, as AdamW gets it."""
    gradients: list[torch.Tensor] = []

    def keep(*_: object) -> None:
        parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts).double())

    handle = register_optimizer_step_pre_hook(keep)
    try:
        yield gradients
    finally:
        handle.remove()


def first_gradient(
    examples: Sequence[Example], settings: TrainSettings = ONE_STEP, model=None
) -> torch.Tensor:
    model = gpt2() if model is None else model
    with seen_by_the_optimizer(model) as gradients:
        train(model, examples, settings, seed=0)
    return gradients[0]


def token_losses(model: torch.nn.Module, example: Example) -> torch.Tensor:
    """Nats of each target, of one document alone, by log-softmax and nothing of training.py."""
    logits = model(input_ids=torch.from_numpy(example.input_ids)[None]).logits[0]
    labels = torch.from_numpy(example.labels)
    learned = labels != IGNORED
    return -logits.log_softmax(-1)[learned, labels[learned]]


def exact_gradient(examples: Sequence[Example]) -> torch.Tensor:
    """Of the mean over all target tokens, in float64."""
    model = gpt2().double()
    losses = torch.cat([token_losses(model, example) for example in examples])
    (losses.sum() / len(losses)).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def off(gradient: torch.Tensor, exact: torch.Tensor) -> float:
    return float((gradient - exact).norm() / exact.norm())


def weights(model: torch.nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


DOCUMENTS = [document(length, seed) for seed, length in enumerate((5, 30, 7, 18, 18, 40, 9, 3) * 3)]
SHORT = TrainSettings(batch_tokens=64, learning_rate=1e-2)


# --- the loss -------------------------------------------------------------------------------


def test_every_token_of_a_step_weighs_the_same_however_the_step_is_cut() -> None:
    examples = [document(11), document(101, prompt=0)]
    exact = exact_gradient(examples)
    alone = [exact_gradient([example]) for example in examples]
    assert off((alone[0] + alone[1]) / 2, exact) > 0.5  # the usual mean of means
    for micro_batch_tokens in (1, 8192):
        settings = ONE_STEP.model_copy(update={"micro_batch_tokens": micro_batch_tokens})
        assert off(first_gradient(examples, settings), exact) < 1e-6


def test_padding_changes_nothing() -> None:
    # 10 and 9 tokens share a rectangle, with one position of padding.
    examples = [document(10, seed) for seed in range(3)] + [document(9)]
    assert off(first_gradient(examples), exact_gradient(examples)) < 1e-6


def test_a_network_that_cannot_read_packed_rows_learns_the_same() -> None:
    unpacked = gpt2()
    unpacked.set_attn_implementation("eager")
    assert can_pack(gpt2())
    assert not can_pack(unpacked)
    examples = [*DOCUMENTS, document(6, prompt=12)]
    assert off(first_gradient(examples, model=unpacked), exact_gradient(examples)) < 1e-6
    assert unpacked.config._attn_implementation == "eager"


def test_training_leaves_the_attention_as_it_was() -> None:
    model = gpt2()
    train(model, [document(11)], ONE_STEP, seed=0)
    assert model.config._attn_implementation == "sdpa"


def saved_bytes(settings: TrainSettings) -> tuple[int, torch.Tensor]:
    """What one step keeps for its backward pass, and its gradient."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        gradient = first_gradient([document(100, seed) for seed in range(8)], settings)
    return sum(kept.values()), gradient


def test_checkpointed_layers_keep_less_and_learn_the_same() -> None:
    plain, gradient = saved_bytes(ONE_STEP)
    settings = ONE_STEP.model_copy(update={"gradient_checkpointing": True})
    less, same = saved_bytes(settings)
    # The logits are kept either way; of the layer, 4 x 16 of the MLP twice and some tens more.
    assert less < 0.7 * plain
    assert torch.equal(gradient, same)


def test_bfloat16_multiplies_in_it_and_keeps_the_weights_in_float32() -> None:
    model, low = gpt2(), gpt2()
    exact = first_gradient(DOCUMENTS, model=model)
    with seen_by_the_optimizer(low) as gradients:
        train(low, DOCUMENTS, ONE_STEP, seed=0, bfloat16=True)
    # bfloat16 has 8 bits: a rounding is up to 2^-9 of a number.
    assert 2**-12 < off(gradients[0], exact) < 2**-4
    assert {parameter.dtype for parameter in low.parameters()} == {torch.float32}


def test_a_step_s_gradient_holds_nothing_of_the_steps_before() -> None:
    still = SHORT.model_copy(update={"learning_rate": 1e-12, "max_grad_norm": 1e9})
    model = gpt2()
    with seen_by_the_optimizer(model) as gradients:
        train(model, DOCUMENTS, still, seed=0)
    steps = plan_steps(DOCUMENTS, still, 0)
    assert len(steps) > 3
    for gradient, step in zip(gradients, steps, strict=True):
        assert off(gradient, exact_gradient([DOCUMENTS[index] for index in step])) < 1e-6


def test_a_prompt_is_read_and_not_learned_from() -> None:
    asked = document(6, prompt=12)
    assert asked.num_targets == 6
    assert off(first_gradient([asked]), exact_gradient([asked])) < 1e-6
    # The same targets after another prompt teach something else: it is read.
    other = asked._replace(input_ids=np.where(np.arange(18) < 12, 1, asked.input_ids))
    assert off(first_gradient([other]), exact_gradient([asked])) > 0.01
    curve = train(gpt2(), [asked, document(5)], ONE_STEP, seed=0)
    assert [row["tokens"] for row in curve] == [11]


def test_the_gradient_is_clipped_and_its_norm_before_that_is_kept() -> None:
    settings = SHORT.model_copy(update={"max_grad_norm": 0.01})
    model = gpt2()
    with seen_by_the_optimizer(model) as gradients:
        curve = train(model, DOCUMENTS, settings, seed=0)
    assert len(gradients) == len(curve) > 3
    for gradient in gradients:
        assert float(gradient.norm()) == pytest.approx(0.01, rel=1e-3)
    [first] = [row["grad_norm"] for row in curve[:1]]
    step = [DOCUMENTS[index] for index in plan_steps(DOCUMENTS, settings, 0)[0]]
    assert first == pytest.approx(float(exact_gradient(step).norm()), rel=1e-5)


def test_a_gradient_below_the_bound_is_left_alone() -> None:
    examples = [document(11)]
    bound = 2 * float(exact_gradient(examples).norm())
    settings = ONE_STEP.model_copy(update={"max_grad_norm": bound})
    assert off(first_gradient(examples, settings), exact_gradient(examples)) < 1e-6


# --- the weights ----------------------------------------------------------------------------


def test_the_first_step_of_adam_is_the_learning_rate_along_every_sign() -> None:
    # Its two averages begin as g and g^2, so the step is rate * g / (|g| + 1e-8).
    model = gpt2()
    before = copy.deepcopy(model)
    settings = ONE_STEP.model_copy(update={"learning_rate": 1e-3})
    with seen_by_the_optimizer(model) as gradients:
        train(model, [document(11)], settings, seed=0)
    moved = torch.cat(
        [
            (new - old).flatten().double()
            for new, old in zip(model.parameters(), before.parameters(), strict=True)
        ]
    ).detach()
    [gradient] = gradients
    expected = -1e-3 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)


def test_weight_decay_shrinks_the_weights_by_rate_times_decay() -> None:
    models = {}
    for decay in (0.0, 0.5):
        models[decay] = gpt2()
        settings = ONE_STEP.model_copy(update={"weight_decay": decay, "learning_rate": 1e-2})
        train(models[decay], [document(11)], settings, seed=0)
    start = gpt2().transformer.wte.weight
    shrunk = models[0.5].transformer.wte.weight - models[0.0].transformer.wte.weight
    torch.testing.assert_close(shrunk, -1e-2 * 0.5 * start, rtol=0, atol=1e-6)


def test_frozen_weights_stay_and_the_others_move() -> None:
    model = gpt2().requires_grad_(False)
    model.transformer.h[0].mlp.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, DOCUMENTS, SHORT, seed=0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (".mlp." not in name), name


def test_training_lowers_the_loss_and_leaves_the_model_ready_to_read() -> None:
    model = gpt2(dropout=0.1)
    settings = SHORT.model_copy(update={"epochs": 10.0})
    curve = train(model, DOCUMENTS, settings, seed=0)
    assert curve[-1]["loss"] < curve[0]["loss"] - 1
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_same_seed_gives_the_same_weights_byte_for_byte(dropout: float) -> None:
    results = []
    for before, seed in enumerate((1, 1, 2)):
        model = gpt2(dropout)
        torch.manual_seed(before)  # whatever was drawn before
        curve = train(model, DOCUMENTS, SHORT, seed=seed)
        results.append((curve, weights(model)))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_dropout_is_drawn_from_the_seed() -> None:
    # One step of all documents: without dropout the order would not matter.
    losses = []
    for before, seed in enumerate((1, 1, 2)):
        model = gpt2(0.2)
        torch.manual_seed(before)  # whatever was drawn before
        losses.append(train(model, DOCUMENTS, ONE_STEP, seed=seed)[0]["loss"])
    assert losses[0] == losses[1]
    assert losses[0] != pytest.approx(losses[2], rel=1e-6)


# --- the curve ------------------------------------------------------------------------------


def test_the_curve_has_a_row_a_step_and_counts_target_tokens() -> None:
    told: list[int] = []
    settings = SHORT.model_copy(update={"epochs": 1.5})
    curve = train(gpt2(), DOCUMENTS, settings, seed=3, advance=told.append)
    steps = plan_steps(DOCUMENTS, settings, 3)
    sizes = [sum(DOCUMENTS[index].num_targets for index in step) for step in steps]
    assert len(steps) > 5
    assert all(
        list(row) == ["step", "tokens", "loss", "learning_rate", "grad_norm"] for row in curve
    )
    assert [row["step"] for row in curve] == list(range(len(steps)))
    assert told == sizes
    assert [row["tokens"] for row in curve] == np.cumsum(sizes).tolist()
    assert [row["learning_rate"] for row in curve] == [
        learning_rate(number, len(steps), settings) for number in range(len(steps))
    ]


def test_the_loss_in_the_curve_is_the_step_s_before_it_is_taken() -> None:
    curve = train(gpt2(), DOCUMENTS, SHORT, seed=3)
    step = [DOCUMENTS[index] for index in plan_steps(DOCUMENTS, SHORT, 3)[0]]
    losses = torch.cat([token_losses(gpt2(), example) for example in step])
    assert curve[0]["loss"] == pytest.approx(float(losses.mean().detach()), rel=1e-5)


def test_the_optimizer_gets_the_scheduled_rate() -> None:
    rates: list[float] = []
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    try:
        curve = train(gpt2(), DOCUMENTS, SHORT, seed=0)
    finally:
        handle.remove()
    assert rates == [row["learning_rate"] for row in curve]
    assert len(set(rates)) > 3


@pytest.mark.parametrize(
    ("decay", "warmup", "expected"),
    [
        # 8 steps of which 2 warm up: then 6, 5, ... 1 sixths of the way are left.
        ("linear", 0.25, [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("none", 0.25, [1 / 2, 1, 1, 1, 1, 1, 1, 1]),
        (
            "cosine",
            0.25,
            [1 / 2, 1, 1, (2 + 3**0.5) / 4, 3 / 4, 1 / 2, 1 / 4, (2 - 3**0.5) / 4],
        ),
        ("linear", 0.0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("none", 0.0, [1] * 8),
        # The little that is asked for is one step, at the full rate; then 7 are left.
        ("linear", 0.01, [1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]),
        ("linear", 1.0, [1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1]),
    ],
)
def test_the_rate_warms_up_and_decays(decay: str, warmup: float, expected: list[float]) -> None:
    settings = TrainSettings(learning_rate=3e-4, decay=decay, warmup=warmup)
    rates = [learning_rate(step, 8, settings) for step in range(8)]
    assert rates == pytest.approx([3e-4 * share for share in expected], rel=1e-12)


@pytest.mark.parametrize("decay", ["linear", "cosine", "none"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_a_single_step_is_taken_at_the_full_rate(decay: str, warmup: float) -> None:
    settings = TrainSettings(learning_rate=3e-4, decay=decay, warmup=warmup)
    assert learning_rate(0, 1, settings) == 3e-4


# --- the steps ------------------------------------------------------------------------------


def targets(step: Sequence[int], examples: Sequence[Example] = DOCUMENTS) -> int:
    return sum(examples[index].num_targets for index in step)


@pytest.mark.parametrize("epochs", [1.0, 3.0])
def test_every_document_is_learned_once_an_epoch(epochs: float) -> None:
    steps = plan_steps(DOCUMENTS, TrainSettings(epochs=epochs, batch_tokens=50), seed=0)
    order = [index for step in steps for index in step]
    num = len(DOCUMENTS)
    passes = [order[begin : begin + num] for begin in range(0, len(order), num)]
    assert len(passes) == epochs
    for one in passes:
        assert sorted(one) == list(range(num))
    assert len({tuple(one) for one in [*passes, list(range(num))]}) == epochs + 1  # all shuffled


@pytest.mark.parametrize("epochs", [0.2, 0.5, 1.3, 2.75])
def test_a_part_of_an_epoch_is_measured_in_tokens(epochs: float) -> None:
    steps = plan_steps(DOCUMENTS, TrainSettings(epochs=epochs, batch_tokens=50), seed=0)
    budget = epochs * targets(range(len(DOCUMENTS)))
    learned = sum(targets(step) for step in steps)
    # The shortest beginning that reaches the budget.
    assert learned - DOCUMENTS[steps[-1][-1]].num_targets < budget <= learned
    whole = plan_steps(DOCUMENTS, TrainSettings(epochs=math.ceil(epochs), batch_tokens=50), seed=0)
    flat = [index for step in steps for index in step]
    assert flat == [index for step in whole for index in step][: len(flat)]


def test_a_step_ends_where_its_tokens_are_together() -> None:
    # Equal documents make the order indifferent: 30 tokens each, steps of 64. The documents
    # begin at 0, 30, 60, 90, 120, 150, 180; of these 0 to 63, 64 to 127 and 128 to 191 go together.
    examples = [document(30, seed) for seed in range(7)]
    steps = plan_steps(examples, TrainSettings(batch_tokens=64), seed=0)
    assert [len(step) for step in steps] == [3, 2, 2]


@pytest.mark.parametrize("batch_tokens", [1, 16, 64, 200, 10_000])
def test_steps_hold_to_their_budget_within_one_document(batch_tokens: int) -> None:
    settings = TrainSettings(epochs=2.0, batch_tokens=batch_tokens)
    steps = plan_steps(DOCUMENTS, settings, seed=0)
    longest = max(example.num_targets for example in DOCUMENTS)
    assert all(steps)
    assert all(targets(step) < batch_tokens + longest for step in steps)
    done = np.cumsum([targets(step) for step in steps])[:-1]
    # After i steps, i budgets are done; where a document is longer than a budget, more than i.
    assert (done >= batch_tokens * np.arange(1, len(steps))).all()
    if batch_tokens >= longest:
        assert (done < batch_tokens * np.arange(1, len(steps)) + longest).all()


def test_prompts_do_not_count_towards_a_step() -> None:
    examples = [document(30, seed, prompt=20) for seed in range(7)]
    steps = plan_steps(examples, TrainSettings(batch_tokens=64), seed=0)
    assert [len(step) for step in steps] == [3, 2, 2]


def test_the_plan_belongs_to_its_seed() -> None:
    first, again, other = (plan_steps(DOCUMENTS, SHORT, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
