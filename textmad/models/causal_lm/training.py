"""The training loop: every optimizer step is a random draw of documents, counted in tokens.

A step takes documents in a shuffled order until `batch_tokens` target tokens are together, so its
make-up does not depend on their lengths. Inside the step they are sorted by length and laid end to
end in micro-batches with next to no padding (`batches`), dealt to the processes. The loss is the
sum of token losses over *all* micro-batches and processes, divided once by the step's target
tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from peft import PeftModel

from textmad.errors import ModelError
from textmad.models.causal_lm.batches import (
    IGNORED,
    Batch,
    Example,
    Limits,
    Rectangle,
    collate,
    micro_batches,
)
from textmad.models.causal_lm.packed_attention import (
    can_pack,
    packed_logits,
    packed_rows,
    varlen_flash,
)
from textmad.models.causal_lm.token_loss import summed_nats
from textmad.models.distributed import parallel, processes
from textmad.models.protocol import Advance, no_advance
from textmad.recipe import TrainSettings
from textmad.seeds import stream, torch_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What one more rectangle costs, in tokens: three small attention calls a layer in a packed row,
# else a forward and a backward pass.
_RECTANGLE_TOKENS, _PASS_TOKENS = 8, 64
_CPU_TOKENS = 1024  # of a row: what a longer one computes no longer fits the caches


def train(
    model: PreTrainedModel | PeftModel,
    examples: Sequence[Example],
    settings: TrainSettings,
    *,
    seed: int,
    bfloat16: bool = False,
    advance: Advance = no_advance,
) -> list[dict[str, float]]:
    """Train in place; the loss curve, a row an optimizer step.

    Rows hold `step`, `tokens` (target tokens so far), `loss` (nats per token, before the step),
    `learning_rate` and `grad_norm` (before clipping). With `bfloat16` matrices are multiplied in
    it (autocast); weights, gradients of weights and the loss keep their own precision.

    Raises:
        ModelError: there is nothing to learn from, or training diverges: a loss, a gradient or what
            the last step leaves is not finite.
    """
    if not any(example.num_targets for example in examples):
        raise ModelError(
            f"train: {len(examples)} documents without a single token to learn from; check the "
            "corpus, and the filters that chose these documents"
        )
    network: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    torch.manual_seed(torch_seed(seed, "train", "dropout", processes.rank()))
    steps = plan_steps(examples, settings, seed)
    with _training_mode(network, settings) as packed:
        learner = _Learner(model, network, settings, packed=packed, bfloat16=bfloat16)
        rates = [learning_rate(number, len(steps), settings) for number in range(len(steps))]
        sizes = [sum(examples[index].num_targets for index in step) for step in steps]
        measured: list[torch.Tensor] = []  # left on the device: reading one waits for it
        for step, rate, num_targets in zip(steps, rates, sizes, strict=True):
            measured.append(learner.step([examples[index] for index in step], rate, num_targets))
            advance(num_targets)
        # Of the first document once more: a last step may leave weights that overflow.
        after = torch.stack([learner.loss(examples[steps[0][0]]), learner.squares()])
    _require_finite(torch.stack(measured), after, rates, settings)
    rows = zip(np.cumsum(sizes).tolist(), rates, torch.stack(measured).tolist(), strict=True)
    return [
        {"step": number, "tokens": tokens, "loss": loss, "learning_rate": rate, "grad_norm": norm}
        for number, (tokens, rate, (loss, norm)) in enumerate(rows)
    ]


def _require_finite(
    measured: torch.Tensor, after: torch.Tensor, rates: Sequence[float], settings: TrainSettings
) -> None:
    """Check what training leaves behind.

    Args:
        measured: losses and gradient norms of all steps, (steps, 2).
        after: a loss after the last step, and the sum of the squared weights, (2,).
        rates: the learning rate of each step.
        settings: for the message.

    Raises:
        ModelError: one of these is not finite.
    """
    broken = (~measured.isfinite().all(-1)).nonzero().flatten().tolist()
    if not broken and bool(after.isfinite().all()):
        return
    step = broken[0] if broken else len(measured)
    loss, norm = measured[step].tolist() if broken else (float(after[0]), 0.0)
    where = f"step {step + 1} of {len(measured)}" if broken else f"after the last step, {step}"
    gradient = "" if math.isfinite(norm) else f" and the norm of its gradient {norm:.4g}"
    if not broken and math.isfinite(loss):
        gradient = ", and weights are so large that their squares overflow"
    if step:
        advice = (
            f"at step 1 it was {float(measured[0, 0]):.4g}, and the learning rate of step {step} "
            f"was {rates[step - 1]:.3g}: lower train.learning_rate, or raise train.warmup"
        )
    else:
        advice = (
            "nothing has been learned yet, so the model that it starts from overflows on this "
            "text: check its weights, or set model.dtype: float32"
        )
    raise ModelError(
        f"train.learning_rate: {settings.learning_rate:g}: training diverges: {where}: the loss is "
        f"{loss:.4g}{gradient}; {advice}"
    )


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


class _Learner:
    """A model with its optimizer, on all processes."""

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        network: PreTrainedModel,
        settings: TrainSettings,
        *,
        packed: bool,
        bfloat16: bool,
    ) -> None:
        self.settings, self.packed, self.bfloat16 = settings, packed, bfloat16
        self.device = processes.device()
        self.model = parallel.distribute(model, network)
        self.learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.learned,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        exact = packed and bfloat16 and varlen_flash(self.device, torch.bfloat16)
        spare = 0 if exact else _RECTANGLE_TOKENS if packed else _PASS_TOKENS
        most = _CPU_TOKENS if self.device.type == "cpu" else settings.micro_batch_tokens
        self.limits = Limits(min(most, settings.micro_batch_tokens), spare, packed)

    def step(self, examples: Sequence[Example], rate: float, num_targets: int) -> torch.Tensor:
        """One optimizer step; the loss before it and the norm of its gradient, (2,) float64."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = parallel.total(self._accumulate(examples, num_targets)) / num_targets
        norm = torch.nn.utils.clip_grad_norm_(self.learned, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([loss, parallel.whole(norm).double()])

    @torch.no_grad()
    def loss(self, example: Example) -> torch.Tensor:
        """Return the summed token loss of a document, (); every process reads it."""
        batch = collate([example], [Rectangle([0], len(example.input_ids))], self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self._logits(batch)
        return summed_nats(logits, batch.labels)

    @torch.no_grad()
    def squares(self) -> torch.Tensor:
        """Return the sum of the squared learned weights, (); infinite where it overflows."""
        return sum(
            (parallel.whole(p.float().square().sum()).double() for p in self.learned),
            torch.zeros((), device=self.device, dtype=torch.float64),
        )

    def _accumulate(self, examples: Sequence[Example], num_targets: int) -> torch.Tensor:
        """Gradients of the step's mean token loss; this process's part of the summed loss."""
        lengths = [len(example.input_ids) for example in examples]
        plan = micro_batches(lengths, self.limits, processes.world_size())
        total = torch.zeros((), device=self.device, dtype=torch.float64)
        for number, everyone in enumerate(plan):
            batch = self._batch(examples, everyone[processes.rank()])
            last = number == len(plan) - 1
            with nullcontext() if last else parallel.accumulating(self.model):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                    logits = self._logits(batch)
                loss = summed_nats(logits, batch.labels)
                # Processes share the mean of their gradients; the sum is what is wanted.
                torch.autograd.backward(loss * (processes.world_size() / num_targets))
            total += loss.detach()
        return total

    def _batch(self, examples: Sequence[Example], rectangles: Sequence[Rectangle]) -> Batch:
        if rectangles:
            return collate(examples, rectangles, self.device)
        # A process without a document still takes part in the collective calls, and learns nothing.
        idle = examples[0]._replace(labels=np.full_like(examples[0].labels, IGNORED))
        return collate([idle], [Rectangle([0], len(idle.input_ids))], self.device)

    def _logits(self, batch: Batch) -> torch.Tensor:
        """Of the positions that have a label, (targets, vocabulary)."""
        if self.packed:
            return packed_logits(self.model, batch)
        [shape] = batch.layout.rectangles
        every = self.model(input_ids=batch.input_ids.view(shape), use_cache=False).logits
        chosen: torch.Tensor = every.flatten(0, 1)[batch.learned]
        return chosen


@contextmanager
def _training_mode(network: PreTrainedModel, settings: TrainSettings) -> Iterator[bool]:
    """Inside, `network` is ready to learn; whether it reads packed rows."""
    packed = can_pack(network)
    network.train()
    if settings.gradient_checkpointing:
        network.activation_checkpointing_enable({"use_reentrant": False})
        network.disable_input_require_grads()  # only the reentrant way needs them
    try:
        with packed_rows(network) if packed else nullcontext():
            yield packed
    finally:
        if settings.gradient_checkpointing:
            network.activation_checkpointing_disable()
        network.eval()
