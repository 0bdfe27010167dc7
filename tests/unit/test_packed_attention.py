"""A row of several documents is read as each document is alone."""

from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from textmad.models.causal_lm import packed_attention
from textmad.models.causal_lm.batches import Batch, Example, Limits, collate, micro_batches
from textmad.models.causal_lm.packed_attention import can_pack, packed_logits, packed_rows

LENGTHS = [5, 30, 7, 18, 18, 40, 9, 3, 6, 18]


@pytest.fixture(params=["gpt2", "llama"])  # Llama: rotary positions, two heads share their keys
def network(request: pytest.FixtureRequest, tiny_models: ModuleType) -> PreTrainedModel:
    made: PreTrainedModel = getattr(tiny_models, request.param)()
    assert can_pack(made)
    return made.eval()


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 250, length + 1) for length in LENGTHS]
    return [Example(ids[:-1], ids[1:]) for ids in rows]


def row_of(examples: list[Example], spare_tokens: int) -> tuple[Batch, list[int]]:
    """All documents in one row, and their order in it."""
    [[row]] = micro_batches(LENGTHS, Limits(10_000, spare_tokens, packed=True))
    batch = collate(examples, row, torch.device("cpu"))
    return batch, [index for rectangle in row for index in rectangle.documents]


def read(network: PreTrainedModel, batch: Batch) -> torch.Tensor:
    with packed_rows(network):
        return packed_logits(network, batch)


def alone(network: PreTrainedModel, examples: list[Example], order: list[int]) -> torch.Tensor:
    parts = [
        network(input_ids=torch.from_numpy(examples[index].input_ids)[None]).logits[0]
        for index in order
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("spare_tokens", [0, 20])
def test_packed_documents_have_the_logits_and_gradients_they_have_alone(
    network: PreTrainedModel, examples: list[Example], spare_tokens: int
) -> None:
    batch, order = row_of(examples, spare_tokens)
    padding = batch.input_ids.numel() - sum(LENGTHS)
    assert (padding > 0) == (spare_tokens > 0)
    gradients = []
    logits = [read(network, batch), alone(network, examples, order)]
    torch.testing.assert_close(*logits, rtol=0, atol=2e-5)
    for found in logits:
        network.zero_grad()
        torch.nn.functional.cross_entropy(found, batch.labels, reduction="sum").backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()


def test_a_leak_between_two_documents_would_be_seen(
    network: PreTrainedModel, examples: list[Example]
) -> None:
    batch, order = row_of(examples, 0)
    # Documents 0 and 1 of the row taken for one of 3 + 5 positions, positions as they were.
    assert batch.layout.rectangles[:2] == ((1, 3), (1, 5))
    joined = batch.layout._replace(rectangles=((1, 8), *batch.layout.rectangles[2:]))
    leaking = read(network, batch._replace(layout=joined))
    off = (leaking - alone(network, examples, order)).abs().amax(-1)
    assert off[3:8].max() > 0.05  # the second document sees the first
    assert off[:3].max() < 2e-5
    assert off[8:].max() < 2e-5


def test_flash_attention_is_told_where_documents_begin(
    network: PreTrainedModel, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    def varlen(q, k, v, starts_q, starts_k, max_q, max_k, *, scale, window_size, enable_gqa):
        """Flash attention's contract, plainly: (tokens, heads, size), a document at a time."""
        assert starts_q is starts_k
        assert max_q == max_k == max(LENGTHS)
        assert window_size == (-1, 0)  # no bound to the left, nothing to the right
        assert starts_q.dtype == torch.int32
        outs = []
        for begin, end in zip(starts_q.tolist()[:-1], starts_q.tolist()[1:], strict=True):
            own = [states[begin:end].transpose(0, 1) for states in (q, k, v)]
            outs.append(
                torch.nn.functional.scaled_dot_product_attention(
                    *own, is_causal=True, scale=scale, enable_gqa=enable_gqa
                ).transpose(0, 1)
            )
        return torch.cat(outs)

    monkeypatch.setattr(packed_attention, "varlen_attn", varlen)
    monkeypatch.setattr(packed_attention, "varlen_flash", lambda device, dtype: True)
    batch, order = row_of(examples, 0)
    torch.testing.assert_close(
        read(network, batch), alone(network, examples, order), rtol=0, atol=2e-5
    )


def test_the_attention_is_put_back_also_after_an_error(network: PreTrainedModel) -> None:
    def fail_inside() -> None:
        with packed_rows(network):
            assert not can_pack(network)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert can_pack(network)
