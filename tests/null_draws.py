"""Draws for the null test: human text and a toy model's, as the evaluators of a run see them."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import BertConfig, BertModel

from tests import tiny_models
from textmad.corpus.chitchat import read_chitchat
from textmad.corpus.cleaning import clean
from textmad.evaluators import Snapshot
from textmad.models.causal_lm.encoder import open_encoder
from textmad.models.protocol import TokenMoments, TokenScores
from textmad.seeds import stream
from textmad.text.documents import content_id, documents, take
from textmad.text.hashes import hashes_of
from textmad.text.passages import Passages, as_sampled

PROMPT_TOKENS, MAX_NEW_TOKENS = 3, 6


@cache
def human_texts(num: int) -> list[str]:
    """Real human text: documents of 5 to 100 words, in a random order."""
    rows = read_chitchat("pool")
    texts = (text for row in rows if 5 <= len((text := clean(row.text)).split()) <= 100)
    found = list(islice(dict.fromkeys(texts), 2 * num))
    return [found[i] for i in stream(0, "null", "order").permutation(len(found))[:num]]


@cache
def encoder():
    """A sentence encoder that has learned nothing: its vectors tell bytes and their order."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tiny_models.VOCABULARY, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        return open_encoder(str(tiny_models.save(BertModel(config), Path(folder))))


class Bigrams:
    """A model of word pairs that reads prompts. Words are tokens, in classes by their hash."""

    name, context = "bigrams", 512

    def __init__(self, texts: list[str], num_tokens: int = 400) -> None:
        self.vocabulary_size = num_tokens
        self._ids: dict[str, int] = {}
        self._words: list[list[str]] = [[] for _ in range(num_tokens)]
        counts = np.full((num_tokens, num_tokens), 0.02)
        for ids in self.encode(texts):
            np.add.at(counts, (np.concatenate([[0], ids[:-1]]), ids), 1.0)
        for text in texts:
            for word in text.split():
                self._words[self._id(word)].append(word)
        counts[:, [i for i in range(1, num_tokens) if not self._words[i]]] = 1e-9
        self._shares = counts / counts.sum(1, keepdims=True)
        self._nats = -np.log(self._shares)
        self._entropy = (self._shares * self._nats).sum(1)
        self._variance = (self._shares * self._nats**2).sum(1) - self._entropy**2
        self._vectors = stream(0, "null", "vectors").normal(size=(num_tokens, 8))

    def _id(self, word: str) -> int:
        if word not in self._ids:
            number = int(hashes_of([content_id(word)])[0])
            self._ids[word] = number % (self.vocabulary_size - 1) + 1
        return self._ids[word]

    def encode(self, texts):
        return [np.array([*map(self._id, text.split()), 0], np.int32) for text in texts]

    def beginning(self, text, num_tokens):
        words = text.split(" ")
        lead = 1 if text.startswith(" ") else 0
        return " ".join(words[: num_tokens + lead])

    def _pairs(self, texts, prompts=None):
        prompts = prompts or [""] * len(texts)
        for prompt, ids in zip(prompts, self.encode(texts), strict=True):
            last = self._id(prompt.split()[-1]) if prompt else 0
            yield np.concatenate([[last], ids[:-1]]), ids

    def token_nll(self, texts, prompts=None):
        return [self._nats[pair] for pair in self._pairs(texts, prompts)]

    def token_scores(self, texts, prompts=None):
        nll = self.token_nll(texts, prompts)
        return TokenScores(nll, [row < 2 for row in nll])

    def token_moments(self, texts, prompts=None):
        before = [last for last, _ in self._pairs(texts, prompts)]
        return TokenMoments(
            self.token_nll(texts, prompts),
            [self._entropy[last] for last in before],
            [self._variance[last] for last in before],
        )

    def cross_entropy(self, texts, observer, prompts=None):
        return [self._entropy[last] for last, _ in self._pairs(texts, prompts)]

    def embed(self, texts, prompts=None):
        return [
            (self._vectors[ids] + 0.5 * self._vectors[last]).mean(0)
            for last, ids in self._pairs(texts, prompts)
        ]

    def write(self, num: int, rng: np.random.Generator, temperature: float = 1.0) -> Passages:
        """Sample documents, each cut at `MAX_NEW_TOKENS` words."""
        shares = self._shares ** (1 / temperature)
        ends = np.cumsum(shares / shares.sum(1, keepdims=True), axis=1)
        texts, finished = [], []
        for _ in range(num):
            last, words = 0, []
            while len(words) < MAX_NEW_TOKENS:
                last = int(np.searchsorted(ends[last], rng.random() * ends[last][-1]))
                if last == 0:
                    break
                words.append(str(rng.choice(self._words[last])))
            texts.append(" ".join(words))
            finished.append(last == 0)
        return Passages(tuple(texts), ("",) * num, tuple(finished))


@dataclass(frozen=True)
class Setting:
    """How text is prompted and cut, and how much of it there is."""

    pool: int
    compared: int
    prompt_tokens: int | None = None
    max_new_tokens: int = 10**6


SETTINGS = {
    "whole": Setting(2000, 60),
    "prompted": Setting(2000, 60, PROMPT_TOKENS),
    "cut": Setting(2000, 60, None, MAX_NEW_TOKENS),
    "prompted and cut": Setting(2000, 60, PROMPT_TOKENS, MAX_NEW_TOKENS),
}


class Laboratory:
    """A pool, a model of it, and as much held-out human text as the draws need."""

    def __init__(self, setting: Setting) -> None:
        num = setting.compared
        texts = human_texts(setting.pool + min(60 * num, 20_000))
        pool, self.held_out = texts[: setting.pool], texts[setting.pool :]
        self.setting, self.model = setting, Bigrams(pool)
        corpus = documents({"text": pool, "tokens": [len(t.split()) + 1 for t in pool]})
        half = setting.pool // 10
        blank = Snapshot(
            generation=1,
            model=self.model,
            base=self.model,
            held_out=corpus,
            human=corpus,
            training=take(corpus, np.arange(half)),
            texts={},
            num_documents=num,
            num_words=1,
            rng=stream(0, "null"),
            as_sampled=lambda some: as_sampled(
                self.model, some, setting.prompt_tokens, setting.max_new_tokens
            ),
            run_cache={},
            open_encoder=lambda name: encoder(),
            open_judge=lambda name: self.model,
        )
        self.blank = blank

    def snapshot(self, draw: int, splits: dict[str, Passages], held_out: list[str]) -> Snapshot:
        """A snapshot of these splits, as many words as the reference has in as many documents."""
        num = self.setting.compared
        reference = splits.get("human") or splits["base"]
        # The same number for every draw, which the text of a few documents more holds.
        words = sum(len(text.split()) for text in reference.texts)
        return replace(
            self.blank,
            held_out=documents(
                {"text": held_out, "tokens": [len(t.split()) + 1 for t in held_out]}
            ),
            texts={name: list(p.texts) for name, p in splits.items()},
            prompts={name: list(p.prompts) for name, p in splits.items()},
            finished={name: list(p.finished) for name, p in splits.items()},
            sampled_ids={name: [None] * len(p) for name, p in splits.items()},
            num_words=int(words * num / len(reference) * 0.9),
            run_cache=self._cache_of_pool(),
        )

    def _cache_of_pool(self):
        """What is known of the pool and is the same for all draws; references are not."""
        cache = self.blank.run_cache
        for key in [key for key in cache if key[0] != "human_counts"]:
            del cache[key]
        return cache

    def human_draw(self, draw: int, change=lambda passages: passages) -> Snapshot:
        """Drawn text that is held-out human text, beside other human text."""
        num = self.setting.compared
        order = stream(0, "null", "draw", draw).permutation(len(self.held_out))
        texts = [self.held_out[i] for i in order[: 16 * num]]
        passages = self.blank.as_sampled(texts[: 12 * num])
        splits = {
            "human": passages.take(range(2 * num)),
            "drawn": change(passages.take(range(2 * num, 2 * num + 3 * num // 2))),
        }
        return self.snapshot(draw, splits, texts[12 * num :])

    def model_draw(self, draw: int) -> Snapshot:
        """Two draws of the same model: the base model's, and one in the place of drawn text."""
        num, rng = self.setting.compared, stream(0, "null", "model", draw)
        order = stream(0, "null", "draw", draw).permutation(len(self.held_out))
        splits = {
            "base": self.model.write(2 * num, rng),
            "drawn": self.model.write(3 * num // 2, rng),
        }
        return self.snapshot(draw, splits, [self.held_out[i] for i in order[: 4 * num]])


def inside(measurements, reference: str) -> dict[tuple[str, str], bool]:
    """Whether each metric of drawn text lies in the interval of a reference; by metric and bin."""
    by_key = {(m.metric, m.bin, m.split): m for m in measurements}
    found = {}
    for (metric, bin_, split), m in by_key.items():
        other = by_key.get((metric, bin_, reference))
        if split == "drawn" and other is not None and not np.isnan(m.value):
            assert not np.isnan(other.low), (metric, bin_, other.note)
            found[metric, bin_] = other.low <= m.value <= other.high
    return found
