"""The training loop. An optimizer step learns from random documents, counted in tokens.

    plan_steps                 which documents each step learns from
    Learner.step              one optimizer step
      micro_batches            its documents in rows of tokens, dealt to the processes
      Learner._accumulate     the gradients of all rows
    require_finite             did training diverge?

A step takes documents in a shuffled order until it has `batch_tokens` target tokens, so which
documents it takes does not depend on their lengths. Only within the step are they sorted by length
and packed, which leaves hardly any padding (`batches`). The loss is the sum of token losses over
*all* micro-batches and processes, divided once by the step's target tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from peft import PeftModel
from transformers.modeling_layers import GradientCheckpointingLayer

from textmad.errors import ModelError
from textmad.models.causal_lm import training_state
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
from textmad.store.checkpoints import Checkpoints

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What one more rectangle costs, in the tokens that are computed in the same time. In a packed row
# it is three small attention calls a layer (4 to 32 train equally fast, see docs/log.md); otherwise
# a forward and a backward pass. The values change speed only.
_RECTANGLE_TOKENS, _PASS_TOKENS = 8, 64
_CPU_TOKENS = 1024  # of a row: the activations of a longer one do not fit the processor's caches


def train(
    model: PreTrainedModel | PeftModel,
    examples: Sequence[Example],
    settings: TrainSettings,
    *,
    seed: int,
    bfloat16: bool = False,
    advance: Advance = no_advance,
    checkpoints: Checkpoints | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place, and return the loss curve: one row for each optimizer step.

    Rows hold `step`, `tokens` (target tokens so far), `loss` (nats per token, before the step),
    `learning_rate` and `grad_norm` (before clipping). With `bfloat16`, matrix products are computed
    in bfloat16 (autocast); weights, their gradients and the loss keep their own precision.
    Training goes on from the latest of `checkpoints`, and keeps one where it is due; of a training
    by several processes none is kept.

    Raises:
        ModelError: there is nothing to learn from, or training diverges: a loss, a gradient or the
            model after the last step is not finite.
    """
    if not any(example.num_targets for example in examples):
        raise ModelError(
            f"train: {len(examples)} documents without a single token to learn from; check the "
            "corpus, and the filters that chose these documents"
        )
    network: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    torch.manual_seed(torch_seed(seed, "train", "dropout", processes.rank()))
    steps = plan_steps(examples, settings, seed)
    with training_mode(network, settings) as packed:
        learner = Learner(model, network, settings, packed=packed, bfloat16=bfloat16)
        rates = [learning_rate(number, len(steps), settings) for number in range(len(steps))]
        sizes = [sum(examples[index].num_targets for index in step) for step in steps]
        kept = checkpoints if processes.world_size() == 1 else None
        latest = kept.latest() if kept is not None else None
        # What is measured is left on the device: reading it waits for it.
        measured = [] if latest is None else training_state.load(learner, latest)
        if measured:
            advance(sum(sizes[: len(measured)]))
        for number in range(len(measured), len(steps)):
            step = [examples[index] for index in steps[number]]
            measured.append(learner.step(step, rates[number], sizes[number]))
            advance(sizes[number])
            if kept is not None and kept.due() and number + 1 < len(steps):
                kept.keep(partial(training_state.save, learner, measured))
        # The last step may leave weights that overflow, which no later step would show. So the
        # first document is scored once more.
        after = torch.stack([learner.loss(examples[steps[0][0]]), learner.squares()])
    require_finite(torch.stack(measured), after, rates, settings)
    tokens_so_far = np.cumsum(sizes).tolist()
    rows = zip(tokens_so_far, rates, torch.stack(measured).tolist(), strict=True)
    return [
        {"step": number, "tokens": tokens, "loss": loss, "learning_rate": rate, "grad_norm": norm}
        for number, (tokens, rate, (loss, norm)) in enumerate(rows)
    ]


def require_finite(
    measured: torch.Tensor,
    after: torch.Tensor,
    rates: Sequence[float],
    settings: TrainSettings,
    setting: str = "train.learning_rate",
) -> None:
    """Check that losses, gradients and weights are finite.

    Args:
        measured: losses and gradient norms of all steps, (steps, 2).
        after: a loss after the last step, and the sum of the squared weights, (2,).
        rates: the learning rate of each step.
        settings: for the message.
        setting: the name of the learning rate, for the message.

    Raises:
        ModelError: one of these is not finite.
    """
    diverged = (~measured.isfinite().all(-1)).nonzero().flatten().tolist()  # numbers of steps
    if not diverged and bool(after.isfinite().all()):
        return
    # What is not finite, and where.
    step = diverged[0] if diverged else len(measured)
    loss, norm = measured[step].tolist() if diverged else (float(after[0]), 0.0)
    where = f"step {step + 1} of {len(measured)}" if diverged else f"after the last step, {step}"
    gradient = "" if math.isfinite(norm) else f" and the norm of its gradient {norm:.4g}"
    if not diverged and math.isfinite(loss):
        gradient = ", and weights are so large that their squares overflow"
    # What to do.
    if step:
        advice = (
            f"at step 1 it was {float(measured[0, 0]):.4g}, and the learning rate of step {step} "
            f"was {rates[step - 1]:.3g}: lower {setting}, or raise train.warmup"
        )
    else:
        advice = (
            "nothing has been learned yet, so the model that it starts from overflows on this "
            "text: check its weights, or set model.dtype: float32"
        )
    raise ModelError(
        f"{setting}: {settings.learning_rate:g}: training diverges: {where}: the loss is "
        f"{loss:.4g}{gradient}; {advice}"
    )


def plan_steps(examples: Sequence[Example], settings: TrainSettings, seed: int) -> list[list[int]]:
    """Choose the documents of each optimizer step, and return their indices by step.

    Each epoch is one shuffled pass. A fractional last epoch ends after that share of the target
    tokens, and the last step may have fewer tokens than the others.
    """
    targets = np.array([example.num_targets for example in examples])  # (documents,)
    order = np.concatenate(
        [
            stream(seed, "train", "order", epoch).permutation(len(examples))
            for epoch in range(math.ceil(settings.epochs))
        ]
    )
    # Target tokens before each document, in the shuffled order: (epochs * documents,).
    before = np.cumsum(targets[order]) - targets[order]
    is_learned = before < settings.epochs * targets.sum() - 1e-6  # products of floats round
    order, before = order[is_learned], before[is_learned]
    # A document belongs to the step in which its first target token falls.
    step_of_document = before // settings.batch_tokens
    cuts = np.flatnonzero(np.diff(step_of_document)) + 1
    return [part.tolist() for part in np.split(order, cuts) if len(part)]


def learning_rate(step: int, num_steps: int, settings: TrainSettings) -> float:
    """Return the rate of step `step`, from 0: linear warm-up, then decay towards 0 at the end."""
    warmup = max(1, round(settings.warmup * num_steps)) if settings.warmup else 0
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, num_steps - warmup)
    shape = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "none": 1.0}
    return settings.learning_rate * shape[settings.decay]


class Learner:
    """A model with its optimizer, spread over all processes."""

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
        # With attention over documents of any lengths, one more rectangle costs nothing.
        any_lengths = packed and bfloat16 and varlen_flash(self.device, torch.bfloat16)
        cost = 0 if any_lengths else _RECTANGLE_TOKENS if packed else _PASS_TOKENS
        longest_row = _CPU_TOKENS if self.device.type == "cpu" else settings.micro_batch_tokens
        self.limits = Limits(min(longest_row, settings.micro_batch_tokens), cost, packed)

    def step(self, examples: Sequence[Example], rate: float, num_targets: int) -> torch.Tensor:
        """Take one optimizer step, and return the loss before it and the gradient's norm, (2,)."""
        loss = parallel.total(self._accumulate(examples, num_targets)) / num_targets
        return torch.stack([loss, self.move(rate)])

    def move(self, rate: float) -> torch.Tensor:
        """Change the weights by the gradients that have added up; return their norm, ()."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.learned, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return parallel.whole(norm).double()

    @torch.no_grad()
    def loss(self, example: Example) -> torch.Tensor:
        """Return the summed token loss of a document in nats, (); every process computes it."""
        batch = collate([example], [Rectangle([0], len(example.input_ids))], self.device)
        return summed_nats(self.logits(batch), batch.labels)

    @torch.no_grad()
    def squares(self) -> torch.Tensor:
        """Return the sum of squares of the trained weights, (); infinite where it overflows."""
        return sum(
            (parallel.whole(p.float().square().sum()).double() for p in self.learned),
            torch.zeros((), device=self.device, dtype=torch.float64),
        )

    def _accumulate(self, examples: Sequence[Example], num_targets: int) -> torch.Tensor:
        """Add up the gradients of the step's mean loss, and return this process's summed loss."""
        lengths = [len(example.input_ids) for example in examples]
        plan = micro_batches(lengths, self.limits, processes.world_size())
        total = torch.zeros((), device=self.device, dtype=torch.float64)
        for number, rows_by_process in enumerate(plan):
            batch = self.batch(examples, rows_by_process[processes.rank()])
            with self.exchanging(is_last=number == len(plan) - 1):
                logits = self.logits(batch)  # (targets, vocabulary)
                loss = summed_nats(logits, batch.labels)
                # Processes exchange the mean of their gradients, and the step needs their sum.
                torch.autograd.backward(loss * (processes.world_size() / num_targets))
            total += loss.detach()
        return total

    def exchanging(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Inside, a backward pass adds up; processes exchange gradients in the step's last one."""
        return nullcontext() if is_last else parallel.accumulating(self.model)

    def batch(self, examples: Sequence[Example], rectangles: Sequence[Rectangle]) -> Batch:
        """Return this process's documents as tensors."""
        if rectangles:
            return collate(examples, rectangles, self.device)
        # A process without documents has to take part in the collective calls. It computes on a
        # document without targets, which adds nothing to the gradients.
        idle = examples[0]._replace(labels=np.full_like(examples[0].labels, IGNORED))
        return collate([idle], [Rectangle([0], len(idle.input_ids))], self.device)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Compute the logits of the positions that have a label, (targets, vocabulary)."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            if self.packed:
                return packed_logits(self.model, batch)
            [shape] = batch.layout.rectangles
            logits = self.model(input_ids=batch.input_ids.view(shape), use_cache=False).logits
            of_targets: torch.Tensor = logits.flatten(0, 1)[batch.learned]
            return of_targets


@contextmanager
def training_mode(
    network: PreTrainedModel, settings: TrainSettings, *, dropout: bool = True
) -> Iterator[bool]:
    """Set `network` up for training, and yield whether it reads packed rows.

    Without `dropout` only the layers that may be checkpointed are in training mode, not what is in
    them.
    """
    packed = can_pack(network)
    if dropout:
        network.train()
    else:
        network.eval()
        for layer in network.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.training = True
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
