"""How data/tiny-gpt2 is made: `make base-model`.

The learning rate does not decay. A base model that has been annealed on its half of chitchat gains
nothing from a few thousand turns of the other half; this one does, so that generation 0 of a
recipe beats the base model on held-out text and later generations have something to lose.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from textmad import store
from textmad.base_models.kneser_ney import KneserNey
from textmad.base_models.tokenizer import train_tokenizer
from textmad.corpus import open_corpus
from textmad.corpus.chitchat import read_chitchat
from textmad.corpus.cleaning import clean
from textmad.evaluators.perplexity import bits_per_byte, corpus_perplexity
from textmad.models.causal_lm.batches import IGNORED, Example
from textmad.models.causal_lm.model import CausalLM
from textmad.models.causal_lm.scoring import Row, windows
from textmad.models.causal_lm.training import train
from textmad.progress import Progress
from textmad.recipe import CorpusSettings, ModelSettings, TrainSettings
from textmad.seeds import torch_seed

NUM_PIECES = 4096
CONTEXT = 256
SEED = 0
TRAIN = TrainSettings(
    epochs=3.0, batch_tokens=2048, learning_rate=1.5e-3, warmup=0.05, decay="none", weight_decay=0.1
)


def build(folder: Path, progress: Progress) -> None:
    """Train tokenizer and weights from nothing into `folder`, and write the card."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = CorpusSettings()
    turns = dict.fromkeys(clean(row.text) for row in read_chitchat("base"))
    texts = [t for t in turns if settings.min_words <= len(t.split()) <= settings.max_words]
    tokenizer = train_tokenizer(texts, NUM_PIECES, folder)
    examples = _examples(texts, tokenizer)
    network = _network(tokenizer)
    num_tokens = round(TRAIN.epochs * sum(example.num_targets for example in examples))
    begun = time.perf_counter()
    with progress.stage(None, "tiny-gpt2", num_tokens, "tokens"):
        curve = train(network, examples, TRAIN, seed=SEED, advance=progress.advance)
    seconds = time.perf_counter() - begun
    network.save_pretrained(folder)
    facts = {
        "documents": len(texts),
        "tokens": int(curve[-1]["tokens"]),
        "seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        **_held_out(folder, texts),
    }
    (folder / "README.md").write_text(_card(folder, facts), encoding="utf-8")


def _network(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    torch.manual_seed(torch_seed(SEED, "tiny-gpt2"))
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=NUM_PIECES,
            n_positions=CONTEXT,
            n_embd=192,
            n_layer=4,
            n_head=4,
            activation_function="gelu_pytorch_tanh",  # gelu_new in one kernel
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def _examples(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    rows = (Row(np.array([start, *ids, end]), first=1) for ids in encoded)
    return [
        Example(
            window.ids[:-1],
            np.where(np.arange(1, len(window.ids)) < window.first, IGNORED, window.ids[1:]),
        )
        for row in rows
        for window in windows(row, CONTEXT)
    ]


def _held_out(folder: Path, learned: list[str]) -> dict[str, float]:
    """Model and 5-gram on the recipes' held-out conversations."""
    model = CausalLM.open(ModelSettings(base=str(folder)))
    corpus = open_corpus(
        CorpusSettings(), lambda texts: np.array([len(ids) for ids in model.encode(texts)])
    )
    texts = list(corpus.held_out["text"])
    nll = model.token_nll(texts)
    yardstick = KneserNey(5, NUM_PIECES).fit(ids.tolist() for ids in model.encode(learned))
    ngram_nll = [yardstick.token_nll(ids.tolist()) for ids in model.encode(texts)]
    return {
        "held_out_documents": len(texts),
        "held_out_tokens": sum(len(one) for one in nll),
        "perplexity": corpus_perplexity(nll),
        "bits_per_byte": bits_per_byte(nll, texts),
        "ngram_perplexity": corpus_perplexity(ngram_nll),
        "ngram_bits_per_byte": bits_per_byte(ngram_nll, texts),
    }


def _card(folder: Path, facts: dict[str, float]) -> str:
    digests = "\n".join(
        f"| {path.name} | {path.stat().st_size:,} | {store.file_digest(path)} |"
        for path in sorted(folder.iterdir())
        if path.name != "README.md"
    )
    return f"""# tiny-gpt2

A GPT-2 of 4 layers x 192 ({facts["parameters"]:,.0f} parameters, {CONTEXT} positions, float32) with
a sentencepiece BPE tokenizer of {NUM_PIECES:,} pieces and byte fallback; any text round-trips.
It exists to be fine-tuned, generation after generation, on two CPU cores.

- **Learned from:** half of the conversations of chitchat-dataset 0.9.0 (MIT, BYU 2018), chosen by a
  hash of the conversation's id (`textmad.corpus.chitchat.half_of`), cleaned and cut into turns of
  8 to 120 words: {facts["documents"]:,.0f} documents. The other half is the human text of the
  recipes; neither this model nor its tokenizer has seen it.
- **Training:** {facts["tokens"]:,.0f} tokens ({TRAIN.epochs:g} epochs), AdamW at
  {TRAIN.learning_rate:g} without decay, {TRAIN.batch_tokens:,} tokens a step, seed {SEED};
  {facts["seconds"]:,.0f} seconds on 2 CPU cores.
- **Held-out** ({facts["held_out_documents"]:,.0f} turns, {facts["held_out_tokens"]:,.0f} tokens of
  the recipes' held-out conversations):

| model | perplexity | bits per byte |
| --- | ---: | ---: |
| tiny-gpt2 | {facts["perplexity"]:.2f} | {facts["bits_per_byte"]:.4f} |
| 5-gram, interpolated Kneser-Ney, same text and tokenizer | {facts["ngram_perplexity"]:.2f} | \
{facts["ngram_bits_per_byte"]:.4f} |

- **Rebuild:** `make base-model`. The tokenizer comes out the same; the weights do on the same
  machine and library versions.
- **Use:** teaching and testing. It writes small talk of 2018, knows nothing, and may repeat the
  rudeness of its source. Weights and tokenizer: Apache-2.0.

| file | bytes | sha256 |
| --- | ---: | --- |
{digests}
"""
