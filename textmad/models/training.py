"""The training loop: every optimizer step is a random draw of documents, counted in tokens.

A step takes documents in a shuffled order until `batch_tokens` target tokens are together, so its
make-up does not depend on their lengths. Inside the step they are sorted by length and cut into
micro-batches with little padding, and those are dealt to the processes. The loss is the sum of
token losses over *all* micro-batches and processes, divided once by the step's target tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from textmad.models import Advance, no_advance
from textmad.recipe import TrainSettings
from textmad.seeds import stream, torch_seed

IGNORED = -100
_MAX_PADDING = 0.1  # share of a micro-batch; more micro-batches cost more than this padding


class Example(NamedTuple):
    """One document as numbers; `labels[i]` is what position i has to predict."""

    input_ids: np.ndarray  # (time,) int64: start token, prompt, text
    labels: np.ndarray  # (time,) int64: prompt positions are IGNORED

    @property
    def num_targets(self) -> int:
        """Tokens that are learned from."""
        return int((self.labels != IGNORED).sum())


def train(
    model: torch.nn.Module,
    examples: Sequence[Example],
    settings: TrainSettings,
    *,
    seed: int,
    advance: Advance = no_advance,
) -> list[dict[str, float]]:
    """Train in place; the loss curve, a row an optimizer step.

    Rows hold `step`, `tokens` (target tokens so far), `loss` (nats per token, before the step),
    `learning_rate` and `grad_norm` (before clipping).
    """
    # Accumulation is done by hand: Accelerator.backward divides by its own setting, and the
    # launcher's environment may overrule the constructor (FACTS: measured with accelerate 1.15).
    accelerator = Accelerator(gradient_accumulation_steps=1)
    if accelerator.gradient_accumulation_steps != 1:
        accelerator.gradient_accumulation_steps = 1
    torch.manual_seed(torch_seed(seed, "train", "dropout", accelerator.process_index))
    steps = plan_steps(examples, settings, seed)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        learned, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    prepared, optimizer = accelerator.prepare(model, optimizer)
    prepared.train()
    curve: list[dict[str, float]] = []
    tokens = 0
    for number, step in enumerate(steps):
        rate = learning_rate(number, len(steps), settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        num_targets = sum(examples[index].num_targets for index in step)
        loss = _accumulate(accelerator, prepared, examples, step, num_targets, settings)
        norm = accelerator.clip_grad_norm_(learned, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += num_targets
        curve.append(
            {
                "step": number,
                "tokens": tokens,
                "loss": loss,
                "learning_rate": rate,
                "grad_norm": float(norm) if norm is not None else math.nan,
            }
        )
        advance(num_targets)
    accelerator.unwrap_model(prepared).eval()
    return curve


def plan_steps(examples: Sequence[Example], settings: TrainSettings, seed: int) -> list[list[int]]:
    """Which documents make up each optimizer step.

    Each epoch is one shuffled pass; a fractional last epoch is cut in tokens, and the last step
    of a run may be short.
    """
    targets = np.array([example.num_targets for example in examples])
    order = np.concatenate(
        [
            stream(seed, "train", "order", epoch).permutation(len(examples))
            for epoch in range(math.ceil(settings.epochs))
        ]
    )
    ends = np.cumsum(targets[order])
    budget = settings.epochs * targets.sum()
    order = order[ends - targets[order] < budget - 1e-6]
    # A document belongs to the step in which its first token falls.
    first = np.cumsum(targets[order]) - targets[order]
    cuts = np.flatnonzero(np.diff(first // settings.batch_tokens)) + 1
    return [part.tolist() for part in np.split(order, cuts) if len(part)]


def learning_rate(step: int, num_steps: int, settings: TrainSettings) -> float:
    """Linear warm-up from the first step, then decay towards 0 after the last."""
    warmup = max(1, round(settings.warmup * num_steps)) if settings.warmup else 0
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, num_steps - warmup)
    shape = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "none": 1.0}
    return settings.learning_rate * shape[settings.decay]


def micro_batches(
    lengths: Sequence[int], max_tokens: int, num_processes: int
) -> list[list[list[int]]]:
    """Cut a step's documents into micro-batches: `result[i][rank]` are indices into `lengths`.

    Every process gets as many micro-batches as the others; where documents run out its list is
    empty. A micro-batch holds at most `max_tokens` with its padding, or one document.
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    batches: list[list[list[int]]] = []
    begin = 0
    while begin < len(order):
        end, total = begin, 0
        while end < len(order):
            longest = lengths[order[end]]
            rows = math.ceil((end - begin + 1) / num_processes)
            padded = (end - begin + 1) * longest
            full = rows > 1 and rows * longest > max_tokens
            wasteful = 1 - (total + longest) / padded > _MAX_PADDING
            if end > begin and (full or wasteful):
                break
            total += longest
            end += 1
        group = order[begin:end]
        batches.append([group[rank::num_processes] for rank in range(num_processes)])
        begin = end
    return batches


def collate(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """`input_ids` and `labels`, (batch, time), padded on the right.

    No attention mask is needed: under a causal mask no document token sees what comes after it.
    """
    time = max(len(example.input_ids) for example in examples)
    input_ids = np.zeros((len(examples), time), np.int64)
    labels = np.full((len(examples), time), IGNORED, np.int64)
    for row, example in enumerate(examples):
        input_ids[row, : len(example.input_ids)] = example.input_ids
        labels[row, : len(example.labels)] = example.labels
    return torch.from_numpy(input_ids), torch.from_numpy(labels)


def _accumulate(
    accelerator: Accelerator,
    model: torch.nn.Module,
    examples: Sequence[Example],
    step: Sequence[int],
    num_targets: int,
    settings: TrainSettings,
) -> float:
    """Gradients of the step's mean token loss, summed over micro-batches and processes."""
    lengths = [len(examples[index].input_ids) for index in step]
    plan = micro_batches(lengths, settings.micro_batch_tokens, accelerator.num_processes)
    total = torch.zeros((), device=accelerator.device, dtype=torch.float64)
    for last, batch in _with_last(plan):
        mine = [examples[step[index]] for index in batch[accelerator.process_index]]
        # A process without a document still takes part in the collective calls, with weight 0.
        input_ids, labels = collate(mine or [examples[step[0]]])
        if not mine:
            labels.fill_(IGNORED)
        with nullcontext() if last else accelerator.no_sync(model):
            logits = model(input_ids=input_ids.to(accelerator.device)).logits
            loss = cross_entropy(
                logits.flatten(0, 1).float(),
                labels.to(accelerator.device).flatten(),
                ignore_index=IGNORED,
                reduction="sum",
            )
            # Data-parallel wrappers average over processes; the sum is what is wanted.
            accelerator.backward(loss * (accelerator.num_processes / num_targets))
        total += loss.detach()
    return float(accelerator.reduce(total, "sum")) / num_targets


def _with_last(plan: list[list[list[int]]]) -> Iterator[tuple[bool, list[list[int]]]]:
    return ((number == len(plan) - 1, batch) for number, batch in enumerate(plan))
