"""One generation the plain way: learn from human text, write, measure. No textmad in here.

What a competent person writes with peft, `Trainer` and `generate`: padding as long as the batch and
masked out of the loss, the adapter merged before generating, sampling settings spelled out, the
batch size one that was tried out, perplexity from summed token losses. The other modules time
these very functions.

    python -m benchmarks.plain_generation --help
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

SCORED_AT_ONCE = 16  # documents; the default of `evaluate`'s perplexity


class Written(NamedTuple):
    """Drawn texts, and which of them came to their end token."""

    texts: list[str]
    finished: list[bool]


def open_model(folder: str | Path, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """On the GPU if there is one."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def start_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token before every document."""
    start = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if start is None else start)


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Start token, text, end token."""
    pieces = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[start_of(tokenizer), *ids, tokenizer.eos_token_id] for ids in pieces]


def train(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    lora: LoraConfig,
    *,
    batch_tokens: int,
    learning_rate: float,
    warmup: float,
    epochs: float = 1.0,
    grouped: bool = False,
    seed: int = 0,
) -> PeftModel:
    """Fit a LoRA adapter. A batch is as many documents as hold `batch_tokens` on average."""
    rows = encode(tokenizer, texts)
    mean_targets = sum(len(ids) - 1 for ids in rows) / len(rows)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=max(1, round(batch_tokens / mean_targets)),
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=warmup,  # below 1: a share
            weight_decay=0.0,
            max_grad_norm=1.0,
            train_sampling_strategy="group_by_length" if grouped else "random",
            bf16=torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        torch.manual_seed(seed)
        adapted = get_peft_model(network, lora)
        trainer = Trainer(
            model=adapted,
            args=arguments,
            train_dataset=[{"input_ids": ids, "labels": ids} for ids in rows],
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
        )
        trainer.train()
    return adapted


def write(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    num_tokens: int,
    batch_size: int,
    max_new_tokens: int,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Written:
    """Batches of documents until they hold `num_tokens` tokens, end tokens counted."""
    end = tokenizer.eos_token_id
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=top_k,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        # An end token that the model cannot draw would only cost time.
        eos_token_id=end if end < network.config.vocab_size else None,
        pad_token_id=tokenizer.pad_token_id,
    )
    network.generation_config = config  # else the base model's own settings fill the gaps
    torch.manual_seed(seed)
    starts = torch.full((batch_size, 1), start_of(tokenizer), device=network.device)
    texts: list[str] = []
    finished: list[bool] = []
    total = 0
    while total < num_tokens:
        rows = network.generate(
            starts, attention_mask=torch.ones_like(starts), generation_config=config
        )[:, 1:]
        is_end = rows == end
        ended = is_end.any(1)
        lengths = torch.where(ended, is_end.int().argmax(1) + 1, rows.shape[1])
        pairs = zip(rows.tolist(), lengths.tolist(), strict=True)
        texts += tokenizer.batch_decode([r[:n] for r, n in pairs], skip_special_tokens=True)
        finished += ended.tolist()
        total += int(lengths.sum())
    return Written(texts, finished)


@torch.inference_mode()
def nats(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[float, int]:
    """Summed negative log-likelihood and number of target tokens, batches in file order."""
    rows = encode(tokenizer, texts)
    total, num_targets = 0.0, 0
    for begin in range(0, len(rows), SCORED_AT_ONCE):
        batch = tokenizer.pad(
            {"input_ids": rows[begin : begin + SCORED_AT_ONCE]},
            padding_side="right",
            return_tensors="pt",
        ).to(network.device)
        logits = network(**batch, use_cache=False).logits[:, :-1].float()
        targets = batch["input_ids"][:, 1:]
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="none"
        )
        mask = batch["attention_mask"][:, 1:].flatten()
        total += float((losses.double() * mask).sum())
        num_targets += int(mask.sum())
    return total, num_targets


def perplexity(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> float:
    """Of a corpus: summed nats over summed tokens."""
    total, num_targets = nats(network, tokenizer, texts)
    return math.exp(total / num_targets)


def distinct(documents: Iterable[Sequence[str]], n: int) -> float:
    """Distinct n-grams of words over n-grams."""
    counts: Counter[tuple[str, ...]] = Counter()
    for words in documents:
        for index in range(len(words) - n + 1):
            counts[tuple(words[index : index + n])] += 1
    return len(counts) / max(counts.total(), 1)


def filling(
    texts: Sequence[str], num_tokens: int, count: Callable[[str], int]
) -> tuple[list[str], list[str]]:
    """The first texts that hold `num_tokens` tokens, and the rest."""
    total = 0
    for number, text in enumerate(texts):
        if total >= num_tokens:
            return list(texts[:number]), list(texts[number:])
        total += count(text)
    return list(texts), []


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Learn, write, measure; the metrics, also as metrics.json."""
    parser = argparse.ArgumentParser(description="One generation, with plain library calls.")
    parser.add_argument("--base", required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--texts", required=True, help="JSON lines with text")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=32)
    parser.add_argument("--tokens", type=int, default=20_000, help="learned, and drawn")
    parser.add_argument("--held-out-tokens", type=int, default=20_000)
    parser.add_argument("--compared-tokens", type=int, default=13_000, help="drawn, and human")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=128, help="of generate")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)

    given.out.mkdir(parents=True)
    with open(given.texts, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    network, tokenizer = open_model(given.base, given.dtype)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1

    held_out, rest = filling(texts, given.held_out_tokens, count)
    training, _ = filling(rest, given.tokens, count)
    human, _ = filling(training, given.compared_tokens, count)
    # The base model measures the texts before the adapter changes it.
    metrics: dict[str, Any] = {"base_held_out": perplexity(network, tokenizer, held_out)}
    metrics["base_human"] = perplexity(network, tokenizer, human)
    adapted = train(
        network,
        tokenizer,
        training,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=given.rank,
            lora_alpha=given.alpha,
            target_modules=given.targets,
        ),
        batch_tokens=given.batch_tokens,
        learning_rate=given.learning_rate,
        warmup=0.1,
        epochs=given.epochs,
        seed=given.seed,
    )
    adapted.save_pretrained(given.out / "adapter")
    merged = adapted.merge_and_unload().eval()
    written = write(
        merged,
        tokenizer,
        num_tokens=given.tokens,
        batch_size=given.batch_size,
        max_new_tokens=given.max_new_tokens,
        seed=given.seed,
    )
    (given.out / "texts.json").write_text(json.dumps(written.texts), encoding="utf-8")
    metrics["held_out"] = perplexity(merged, tokenizer, held_out)
    metrics["held_out_loss"] = math.log(metrics["held_out"])
    base, _ = open_model(given.base, given.dtype)
    drawn, _ = filling(written.texts, given.compared_tokens, count)
    metrics["base_drawn"] = perplexity(base, tokenizer, drawn)
    for name, measured in (("drawn", drawn), ("human", human)):
        words = [text.lower().split() for text in measured]
        metrics |= {f"distinct_{n}_{name}": distinct(words, n) for n in (1, 2, 3, 4)}
    encoded = tokenizer(written.texts, add_special_tokens=False)["input_ids"]
    metrics["tokens_drawn"] = sum(map(len, encoded)) + sum(written.finished)
    metrics["tokens_learned"] = round(given.epochs * sum(map(count, training)))
    (given.out / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


if __name__ == "__main__":
    main()
