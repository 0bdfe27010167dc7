"""Cost grows with the tokens, and what is held in memory with next to nothing."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from textmad.corpus import open_corpus
from textmad.evaluators.diversity import diversity
from textmad.models.protocol import FitResult, Sample, TokenScores
from textmad.testing.synthetic import synthetic_texts

COUNTED: Counter[str] = Counter()  # tokens that `Counting` was given or asked for, by purpose


class Counting:
    """A model whose tokens are words: it learns nothing, and writes one of 97 words at a time."""

    name, context, vocabulary_size, digest = "counting", 1024, 98, "counting"

    def __init__(self, settings: object = None) -> None:
        pass

    def fit(self, corpus, train, *, seed, advance=None) -> FitResult:
        COUNTED["fitted"] += sum(map(len, self.encode(corpus["text"][:])))
        return FitResult(self, [])

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text("{}")

    def load(self, folder: Path) -> Counting:
        return self

    def encode(self, texts) -> list[np.ndarray]:
        ids = [[zlib.crc32(word.encode()) % 997 + 1 for word in text.split()] for text in texts]
        COUNTED["encoded"] += sum(map(len, ids)) + len(ids)
        return [np.array([*words, 0], np.int32) for words in ids]

    def beginning(self, text: str, num_tokens: int) -> str:
        return " ".join(text.split()[:num_tokens])

    def sample(self, settings, *, num_tokens, stream, prompt=None, advance=None) -> list[Sample]:
        drawn: list[Sample] = []
        num_drawn = 0
        while num_drawn < num_tokens:
            rng = stream(len(drawn))
            words = rng.integers(97, size=rng.integers(8, 40))
            drawn.append(Sample(" ".join(f"w{word}" for word in words), True, len(words) + 1))
            num_drawn += drawn[-1].tokens
        COUNTED["drawn"] += num_drawn
        return drawn

    def token_nll(self, texts, prompts=None) -> list[np.ndarray]:
        nll = [1.0 + ids % 7 for ids in self.encode(texts)]
        COUNTED["scored"] += sum(map(len, nll))
        return nll

    def token_scores(self, texts, prompts=None) -> TokenScores:
        nll = self.token_nll(texts, prompts)
        return TokenScores(nll=nll, correct=[losses < 2 for losses in nll])


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def work(source: Path, num_tokens: int, out: Path) -> dict[str, int]:
    """What a run of so many tokens a generation has the model do, and the bytes it leaves."""
    recipe = tm.Recipe(
        generations=2,
        corpus={"source": str(source)},
        model={"base": f"{__name__}:Counting"},
        mix={"human_tokens": num_tokens // 2, "model_tokens": num_tokens, "human": "fresh"},
        sample={"min_tokens": num_tokens, "oversample": 2.0, "max_new_tokens": 40},
        curate=["duplicates", {"upvotes": {"keep": 0.8}}],
        evaluate=[
            {"perplexity": {"held_out_tokens": num_tokens}},
            {"rare_tokens": {"held_out_tokens": num_tokens}},
            "diversity",
        ],
    )
    COUNTED.clear()
    tm.run(recipe, out)
    texts = [*out.glob("gen-*/*/*.parquet")]
    assert texts
    return dict(COUNTED) | {"bytes": sum(path.stat().st_size for path in texts)}


def test_four_times_the_tokens_are_four_times_the_work(tmp_path: Path):
    source = write_texts(tmp_path / "human.jsonl", synthetic_texts(3000))
    less, more = (work(source, num, tmp_path / str(num)) for num in (2_000, 8_000))
    # Whole documents are taken, so a budget of 2,000 is exceeded by at most 40, or 2 %.
    for purpose in ("fitted", "drawn", "scored"):
        assert 0.95 * 4 < more[purpose] / less[purpose] < 1.05 * 4, purpose
    # The whole pool is encoded once to be counted and once for its frequencies.
    assert more["encoded"] < 4 * less["encoded"]
    assert more["bytes"] < 4 * less["bytes"]


def opened_bytes(source: Path) -> tuple[int, int]:
    """Bytes that Python and numpy held at most while the corpus was opened, and documents."""
    settings = tm.Recipe(corpus={"source": str(source)}).corpus

    def count_tokens(texts: list[str]) -> np.ndarray:
        return np.array([len(text.split()) + 1 for text in texts])

    tracemalloc.start()
    corpus = open_corpus(settings, count_tokens)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, len(corpus.human) + len(corpus.held_out)


def test_opening_a_corpus_holds_few_bytes_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for batch in (
        "corpus._BATCH",
        "text.near_duplicates._AT_ONCE",
        "text.near_duplicates._COUNTED_TEXTS",
    ):
        monkeypatch.setattr(f"textmad.{batch}", 100)
    monkeypatch.setattr("textmad.text.near_duplicates._MAX_PAIRS", 1000)
    texts = synthetic_texts(8000)
    few = write_texts(tmp_path / "few.jsonl", texts[:2000])
    many = write_texts(tmp_path / "many.jsonl", texts)
    opened_bytes(few)  # what is imported and cached at first
    (less, num_less), (more, num_more) = opened_bytes(few), opened_bytes(many)
    assert num_less > 1900
    assert num_more > 4 * 0.99 * num_less
    # What stays: 8 bytes of hash against duplicates, 1 of the mask, 9 for the tenth that is held
    # out and indexed; merging and sorting take them a few times over. The rows take 1,000, and
    # the sets and bands of MinHash 4,000 for each held-out document.
    assert (more - less) / (num_more - num_less) < 120


@pytest.mark.slow
def test_a_million_documents_are_measured_in_under_a_minute():
    rng = np.random.default_rng(0)
    words = np.array([f"w{rank}" for rank in range(50_000)], dtype=object)
    shares = np.cumsum(1 / np.arange(1, len(words) + 1))
    drawn = words[np.searchsorted(shares, shares[-1] * rng.random(20_000_000))]
    texts = [" ".join(drawn[start : start + 20]) for start in range(0, len(drawn), 20)]
    begun = time.process_time()
    found = {m.metric: m for m in diversity(texts, len(drawn), num_documents=len(texts))}
    assert time.process_time() - begun < 60
    assert found["distinct_1"].n == len(drawn)
