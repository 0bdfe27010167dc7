"""Activations spelled out by transformers, and the kernel that takes their place."""

from pathlib import Path

import pytest
import torch
from transformers.activations import ACT2FN, GELUTanh

from textmad.models.causal_lm.loading import open_network
from textmad.models.causal_lm.runtime import fuse


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast"])
def test_the_fused_activation_is_the_same_function(name: str) -> None:
    network = torch.nn.Sequential(torch.nn.Sequential(ACT2FN[name]), torch.nn.Identity())
    x = torch.linspace(-12, 12, 10_001)
    spelled_out = network(x)
    fuse(network)
    assert isinstance(network[0][0], GELUTanh)
    torch.testing.assert_close(network(x), spelled_out, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gelu", "silu", "relu", "quick_gelu"])
def test_other_activations_stay(name: str) -> None:
    network = torch.nn.Sequential(ACT2FN[name])
    kind = type(network[0])
    fuse(network)
    assert type(network[0]) is kind


def test_a_base_is_opened_with_the_fused_one(tiny_gpt2_folder: Path) -> None:
    network = open_network(tiny_gpt2_folder, "float32", "tiny")
    assert network.config.activation_function == "gelu_new"  # what the saved config says
    assert all(isinstance(block.mlp.act, GELUTanh) for block in network.transformer.h)
