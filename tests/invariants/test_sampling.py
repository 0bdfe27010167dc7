"""What holds of drawn text whatever the model: no bias, and no dependence on how it is drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings
from textmad.seeds import stream

DEFAULT = SampleSettings(max_new_tokens=16, slots=32)


def opened(folder: Path) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(folder), lora=LoraSettings(targets=("c_attn",))))


@pytest.fixture(scope="module")
def model(tiny_gpt2_folder: Path) -> CausalLM:
    return opened(tiny_gpt2_folder)


def first_tokens(model: CausalLM, settings: SampleSettings, num_documents: int) -> np.ndarray:
    """The first token of each of so many documents, from the ids themselves."""
    first: list[int] = []
    read = model._read

    def keep(drafts):  # type: ignore[no-untyped-def]
        first.extend(int(d.ids[0]) if len(d.ids) else model._base.end for d in drafts)
        return [drawn._replace(tokens=1) for drawn in read(drafts)]

    model._read = keep  # type: ignore[method-assign]
    try:
        model.sample(
            settings, num_tokens=num_documents, stream=lambda index: stream(1, "first", index)
        )
    finally:
        del model._read
    return np.array(first)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.8},
        {"top_k": 20},
        {"top_p": 0.8},
        {"min_p": 0.05},
        {"repetition_penalty": 1.3},
        {"max_new_tokens": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_changes_what_is_drawn(model: CausalLM, change: dict[str, float]) -> None:
    changed = DEFAULT.model_copy(update=change)
    texts = [
        [drawn.text for drawn in model.sample(s, num_tokens=300, stream=lambda i: stream(0, i))]
        for s in (DEFAULT, changed)
    ]
    assert texts[0] != texts[1]


def test_the_stream_alone_decides_what_is_drawn(model: CausalLM) -> None:
    draws = [
        model.sample(DEFAULT, num_tokens=300, stream=lambda i, seed=seed: stream(seed, i))
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_a_uniform_model_reaches_its_whole_vocabulary(tiny_models, tmp_path: Path) -> None:
    network = tiny_models.gpt2()
    torch.nn.init.zeros_(network.transformer.wte.weight)  # the output layer too: they are tied
    model = opened(tiny_models.save(network, tmp_path))
    settings = SampleSettings(max_new_tokens=1, slots=256)
    # 259 tokens, 20 times each on average: one is missed with probability 259 e**-20 < 1e-6.
    drawn = first_tokens(model, settings, 20 * tiny_models.VOCABULARY)
    assert set(drawn) == set(range(tiny_models.VOCABULARY))


def test_first_tokens_are_distributed_as_the_softmax_says(model: CausalLM) -> None:
    drawn = first_tokens(model, SampleSettings(max_new_tokens=1, slots=256), 20_000)
    base = model._base
    with torch.no_grad():
        logits = base.network(input_ids=torch.tensor([[base.start]])).logits[0, -1]
    expected = logits.double().softmax(-1).numpy() * len(drawn)
    counts = np.bincount(drawn, minlength=len(expected))
    common = expected >= 5  # the others are one cell, the tail
    assert 0 < (~common).sum() < len(expected)
    observed = np.append(counts[common], counts[~common].sum())
    assert chisquare(observed, np.append(expected[common], expected[~common].sum())).pvalue > 1e-3
