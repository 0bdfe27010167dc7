"""A human language of the tests' own, and a tiny GPT-2 that has learned it.

Its words are few enough for a model of 2 layers x 32 and have the long tail of a real language:
each class of words follows Zipf's law, so that most types are rare. A speaker keeps to a subject,
which gives a conversation its own words.
"""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from textmad.models.causal_lm.batches import Example
from textmad.models.causal_lm.training import train
from textmad.recipe import TrainSettings

POSITIONS = 64
TRAIN = TrainSettings(epochs=2, batch_tokens=512, learning_rate=1e-2)  # 200 steps

_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
_TEMPLATES = (
    "the {adjective} {noun} {verb} the {noun} in {place}.",
    "do you {verb} the {noun} of {place}?",
    "i {verb} a {noun} and then a {adjective} {noun}.",
    "yes, in {place} every {noun} is {adjective}.",
    "my {noun} is {adjective} but your {noun} is not {adjective}.",
    "we {verb} it with the {noun}, near {place}.",
)
_SIZES = {"noun": 240, "verb": 60, "adjective": 120, "place": 90}


def _words() -> dict[str, list[str]]:
    rng = np.random.default_rng(0)
    made: dict[str, list[str]] = {}
    taken: set[str] = set()
    for kind, size in _SIZES.items():
        made[kind] = []
        while len(made[kind]) < size:
            word = "".join(rng.choice(_SYLLABLES, rng.integers(2, 4)))
            if word not in taken:
                taken.add(word)
                made[kind].append(word)
    return made


_WORDS = _words()
_ZIPF = {
    kind: 1 / np.arange(1, size + 1) / (1 / np.arange(1, size + 1)).sum()
    for kind, size in _SIZES.items()
}


def rows(num_conversations: int, dialect: int) -> list[dict[str, object]]:
    """Documents of 2 or 3 sentences with text, conversation and votes, in conversations of 4.

    Dialects have the same words and sentences, and other words are rare in each.
    """
    rng = np.random.default_rng(dialect)
    words = {kind: rng.permutation(listed) for kind, listed in _WORDS.items()}
    found = []
    for conversation in range(num_conversations):
        subject = str(rng.choice(words["noun"], p=_ZIPF["noun"]))
        for _ in range(4):
            text = " ".join(_sentence(rng, words, subject) for _ in range(rng.integers(2, 4)))
            name = f"{dialect}-{conversation}"
            found.append({"text": text, "conversation": name, "votes": int(rng.geometric(0.3))})
    return found


def _sentence(rng: np.random.Generator, words: dict[str, np.ndarray], subject: str) -> str:
    sentence = str(rng.choice(_TEMPLATES))
    for kind, listed in words.items():
        while f"{{{kind}}}" in sentence:
            word = str(rng.choice(listed, p=_ZIPF[kind]))
            if kind == "noun" and rng.random() < 0.4:
                word = subject
            sentence = sentence.replace(f"{{{kind}}}", word, 1)
    return sentence


def write_corpus(path: Path, num_conversations: int = 300) -> Path:
    """A JSONL file of human text in a dialect that the base model does not know: much to learn."""
    lines = (json.dumps(row) for row in rows(num_conversations, dialect=1))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def save_trained_gpt2(folder: Path) -> Path:
    """A GPT-2 of 2 layers x 32, trained for about 200 steps on other conversations."""
    texts = [str(row["text"]) for row in rows(400, dialect=0)]
    tokenizer = _tokenizer(texts)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    examples = [
        Example(np.array([start, *ids], np.int64), np.array([*ids, end], np.int64))
        for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]
    ]
    torch.manual_seed(0)
    network = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=POSITIONS,
            n_embd=32,
            n_layer=2,
            n_head=2,
            bos_token_id=start,
            eos_token_id=end,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    train(network, examples, TRAIN, seed=0)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
