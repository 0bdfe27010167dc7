"""A model that writes exactly what it learned: then nothing in the loop may change a byte."""

from __future__ import annotations

import json
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from textmad.models.protocol import FitResult, Sample, TokenScores

NUM_DOCUMENTS = 40
# What a model may write and storage, tables and readers like to change.
ODD = [
    "",
    " ",
    " two spaces before,  between and after  ",
    "a line\nanother\r\nand\rone more\n",
    "tab\there, vertical\x0b, form feed\x0c, next line\x85, separator\u2028.",
    "null \x00 and escape \x1b[31mred\x1b[0m and delete \x7f",
    "</s><s> <unk> [PAD] {{ braces }} <b>bold</b> & &amp;",
    "\"quoted\", 'quoted', `code`, \\n, \\u0041, 50 %, $x, a;b",
    "cafe\u0301 and caf\u00e9, \u212b and \u00c5, \ufb01",  # not in the same normal form
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f469\u200d\U0001f4bb\U0001f3fd \u2764\ufe0f \U0001f1e9\U0001f1ea \U00020000",
    "\ufeffbyte order mark, \ufffd replacement, \u200b zero width, \u00a0 no break",
    "NaN",
    "null",
    "1e5",
    "long " * 20_000,
]


class Verbatim:
    """Writes its training documents in order, at first `ODD` and some of them.

    The base model, which has learned nothing, writes `ODD` again and again.

    Each document is one token, so that a generation's budget is a number of documents.
    """

    name, context, vocabulary_size, digest = "verbatim", 100, 100_000, "verbatim"

    def __init__(self, settings: object = None, texts: tuple[str, ...] | None = None) -> None:
        self.texts = texts

    def fit(self, corpus, train, *, seed, advance=None) -> FitResult:
        texts = corpus["text"][:]
        if set(corpus["origin"]) == {"human"}:
            texts = [*ODD, *texts[: len(texts) - len(ODD)]]
        return FitResult(Verbatim(texts=tuple(texts)), [])

    def save(self, folder: Path) -> None:
        (folder / "texts.json").write_text(json.dumps(self.texts))

    def load(self, folder: Path) -> Verbatim:
        return Verbatim(texts=tuple(json.loads((folder / "texts.json").read_text())))

    def encode(self, texts) -> list[np.ndarray]:
        return [np.zeros(1, np.int32) for _ in texts]

    def beginning(self, text: str, num_tokens: int) -> str:
        return ""

    def sample(self, settings, *, num_tokens, stream, prompt=None, advance=None) -> list[Sample]:
        texts = cycle(ODD) if self.texts is None else self.texts
        return [Sample(text, True, 1) for text in islice(texts, num_tokens)]

    def token_nll(self, texts, prompts=None) -> list[np.ndarray]:
        return [np.zeros(1) for _ in texts]

    def token_scores(self, texts, prompts=None) -> TokenScores:
        return TokenScores(self.token_nll(texts), [np.ones(1, bool) for _ in texts])


@pytest.mark.parametrize(
    "curate", [[], [{"random": {"keep": 1.0}}]], ids=["unfiltered", "filtered"]
)
def test_text_stays_the_same_to_the_byte_over_five_generations(
    human_corpus: Path, tmp_path: Path, curate: list[object]
):
    recipe = tm.Recipe(
        generations=5,
        corpus={"source": str(human_corpus)},
        model={"base": f"{__name__}:Verbatim"},
        mix={"model_tokens": NUM_DOCUMENTS},
        sample={"min_tokens": NUM_DOCUMENTS, "max_new_tokens": 1},
        curate=curate,
        evaluate=["diversity", "perplexity"],
    )
    run = tm.run(recipe, tmp_path / "run")
    human = run.training(0)["text"][:]
    expected = Counter([*ODD, *human[: NUM_DOCUMENTS - len(ODD)]])
    assert len(human) == NUM_DOCUMENTS > len(ODD)
    for generation in range(6):
        for texts in (run.candidates(generation)["text"], run.kept(generation)["text"]):
            assert Counter(texts) == expected
            assert {text.encode() for text in texts} == {text.encode() for text in expected}
    base = run.base_text["text"][:]
    assert base == list(islice(cycle(ODD), len(base)))
    assert len(base) >= NUM_DOCUMENTS
    for generation in range(1, 6):
        assert Counter(run.training(generation)["text"]) == expected
