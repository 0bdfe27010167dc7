"""The summed loss against torch's cross-entropy, and the memory it takes."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from textmad.models.causal_lm import token_loss
from textmad.models.causal_lm.token_loss import summed_nats


def some(num: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(num, 8, dtype=dtype) * 4
    return hidden, torch.randint(0, 50, (num,))


@pytest.mark.parametrize("at_once", [1, 50, 170, 10**6])  # logits: 1, 1, 3 rows, all
@pytest.mark.parametrize("num", [1, 7, 30])
def test_loss_and_gradient_are_those_of_cross_entropy(
    num: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_loss, "_CPU_LOGITS", at_once)
    hidden, labels = some(num)
    weights = [torch.ones(8, 50).cumsum(1).sin().requires_grad_() for _ in range(2)]
    losses = [
        summed_nats(hidden @ weights[0], labels),
        cross_entropy((hidden @ weights[1]).double(), labels, reduction="sum"),
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for loss in losses:
        (loss * 0.25).backward()
    torch.testing.assert_close(weights[0].grad, weights[1].grad, rtol=1e-4, atol=1e-5)


def test_bfloat16_logits_are_summed_in_more_than_bfloat16() -> None:
    hidden, labels = some(400, torch.bfloat16)
    weight = torch.ones(8, 50).cumsum(1).sin().bfloat16().requires_grad_()
    logits = hidden @ weight
    exact = cross_entropy(logits.detach().double(), labels, reduction="sum").item()
    loss = summed_nats(logits, labels)
    assert loss.item() == pytest.approx(exact, rel=1e-6)  # bfloat16 alone: 4e-3 off
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16


def test_the_gradient_lies_where_the_logits_were() -> None:
    hidden, labels = some(30)
    logits = hidden @ torch.randn(8, 50, requires_grad=True)
    where: list[int] = []
    logits.register_hook(lambda gradient: where.append(gradient.data_ptr()))
    summed_nats(logits, labels).backward()
    assert where == [logits.data_ptr()]


def test_without_a_gradient_the_logits_stay() -> None:
    hidden, labels = some(30)
    before = hidden.clone()
    summed_nats(hidden[:, :], labels % 8)
    assert torch.equal(hidden, before)


def test_no_targets_have_no_loss_and_a_gradient_of_zeros() -> None:
    weight = torch.randn(8, 50, requires_grad=True)
    loss = summed_nats(torch.empty(0, 8) @ weight, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()
