"""`evaluate.load` takes every family from its local path, offline, with equal numbers.

In a process of its own, since `evaluate` takes seconds to import and copies scripts into a cache.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from textmad.evaluators.diversity import diversity
from textmad.evaluators.lexical import overlap
from textmad.evaluators.perplexity import perplexity
from textmad.evaluators.rare_tokens import loss_by_bin, rare_tokens, text_tokens
from textmad.text.words import cut_texts

RUN = """
import json, sys
import evaluate
from textmad.evaluators import metric_path
for name, given in json.load(sys.stdin):
    print("RESULT", json.dumps(evaluate.load(metric_path(name)).compute(**given)))
"""
RNG = np.random.default_rng(0)
TEXTS = [" ".join(f"w{i}" for i in RNG.zipf(1.5, 20) % 200) for _ in range(60)]
TRAINING = [*TEXTS[:5], "something else"]
TOKENS = [[*(RNG.zipf(1.5, 20) % 100 + 1).tolist(), 0] for _ in range(30)]
HUMAN = [[*(RNG.zipf(1.4, 20) % 100 + 1).tolist(), 0] for _ in range(60)]
NLL = [RNG.exponential(3.0, 21).tolist() for _ in range(30)]
CORRECT = [(RNG.random(21) < 0.4).tolist() for _ in range(30)]


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    given = [
        ("perplexity", {"nll": NLL, "texts": TEXTS[:30], "correct": CORRECT}),
        ("diversity", {"predictions": TEXTS, "num_words": 1000, "training": TRAINING}),
        ("rare_tokens", {"predictions": TOKENS, "human": HUMAN, "num_tokens": 500, "nll": NLL}),
    ]
    home = str(tmp_path_factory.mktemp("hf"))
    offline = {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(given),
        env=os.environ | offline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return [json.loads(line.removeprefix("RESULT")) for line in lines]


def arrays(rows, kind):
    return [np.array(row, kind) for row in rows]


def test_perplexity_is_the_pure_functions(computed):
    found = perplexity(arrays(NLL, float), TEXTS[:30], arrays(CORRECT, bool))
    assert computed[0] == {m.metric: m.value for m in found} | {"tokens": 630}


def test_diversity_is_the_pure_functions(computed):
    expected = {m.metric: m.value for m in diversity(TEXTS, 1000)}
    expected["overlap"] = overlap(cut_texts(TEXTS, 1000), TRAINING)
    assert expected["overlap"] == pytest.approx(5 / 50)  # five of the fifty documents compared
    assert computed[1] == expected


def test_rare_tokens_is_the_pure_functions(computed):
    tokens, counts = arrays(TOKENS, int), np.bincount(text_tokens(arrays(HUMAN, int)))
    expected = {m.metric: m.value for m in rare_tokens(text_tokens(tokens)[:500], counts)}
    for m in loss_by_bin(arrays(NLL, float), tokens, counts):
        expected[f"{m.metric}/{m.bin}" if m.bin else m.metric] = m.value
    assert computed[2] == pytest.approx(expected, rel=1e-15, nan_ok=True)
