"""LoRA training: `transformers.Trainer`, shuffled or grouped by length, against `CausalLM.fit`.

From texts to a fitted adapter: same documents, adapter, optimizer, schedule and number of passes.
The Trainer counts its batch in documents and textmad in tokens, so the Trainer gets as many
documents as hold those tokens on average. Held-out loss, off the clock, compares what came out.
"""

from __future__ import annotations

from collections.abc import Callable

from peft import LoraConfig

from benchmarks import plain_generation
from benchmarks.sides import Done
from benchmarks.workload import ALPHA, RANK, base_folder, our_model, read_texts, targets_of
from textmad.evaluators.perplexity import corpus_loss
from textmad.recipe import TrainSettings
from textmad.text.documents import HUMAN, documents

WARMUP = 0.1  # share of the steps; then the rate falls linearly towards 0


def plain(
    base: str,
    dtype: str,
    texts: str,
    held_out: str,
    batch_tokens: int,
    learning_rate: float,
    grouped: bool,
) -> Callable[[int], Done]:
    """`Trainer`, padding each batch to its longest; every turn trains a fresh adapter."""
    corpus, unseen = read_texts(texts), read_texts(held_out)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules=list(targets_of(base))
    )
    network, tokenizer = plain_generation.open_model(base_folder(base), dtype)
    num_targets = sum(len(ids) - 1 for ids in plain_generation.encode(tokenizer, corpus))

    def turn(number: int) -> Done:
        adapted = plain_generation.train(
            network,
            tokenizer,
            corpus,
            lora,
            batch_tokens=batch_tokens,
            learning_rate=learning_rate,
            warmup=WARMUP,
            grouped=grouped,
            seed=number,
        )

        def facts() -> dict[str, float]:
            nats, num_tokens = plain_generation.nats(adapted.eval(), tokenizer, unseen)
            adapted.unload()  # the base model as it was, for the next turn
            return {"held_out_loss": nats / num_tokens}

        return Done(num_targets, facts)

    return turn


def ours(
    base: str, dtype: str, texts: str, held_out: str, batch_tokens: int, learning_rate: float
) -> Callable[[int], Done]:
    """`CausalLM.fit`."""
    corpus, unseen = read_texts(texts), read_texts(held_out)
    model = our_model(base, dtype)
    dataset = documents({"text": corpus, "origin": [HUMAN] * len(corpus)})
    num_targets = sum(map(len, model.encode(corpus)))
    settings = TrainSettings(batch_tokens=batch_tokens, learning_rate=learning_rate, warmup=WARMUP)

    def turn(number: int) -> Done:
        fitted = model.fit(dataset, settings, seed=number)
        assert fitted.curve[-1]["tokens"] == num_targets
        return Done(
            num_targets, lambda: {"held_out_loss": corpus_loss(fitted.model.token_nll(unseen))}
        )

    return turn
