"""Preference learning: KTO, APO-zero (unpaired) and DPO, on the training loop's own batches.

    prefer
      plan_preference_steps     which documents, or pairs, each step learns from
      _prepared                 log-likelihoods under the reference model, before the first step
      log_likelihoods           of a step's documents, and of the texts of KTO's KL term
      preference_loss           the mean loss, and its slope at each log-likelihood
      _add_gradients            each document's tokens, weighted by that slope

The losses are those of trl's `KTOTrainer` and `DPOTrainer`, and are checked against its numbers
(docs/decisions/0010-preference-losses.md says why its trainers are not used). A document's
log-likelihood is a sum over its tokens.

A step reads its documents twice: once for the log-likelihoods, which all go into one loss, and
once for the gradient. So neither a pair nor KTO's KL term depends on how the step is cut into
micro-batches. There is no dropout, which would differ between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel
from torch.nn.functional import logsigmoid, sigmoid

from textmad.models.causal_lm.batches import Example, Rectangle, examples_of, micro_batches
from textmad.models.causal_lm.scoring import Row
from textmad.models.causal_lm.token_loss import summed_nats, token_nats
from textmad.models.causal_lm.training import (
    Learner,
    learning_rate,
    require_finite,
    training_mode,
)
from textmad.models.distributed import parallel, processes
from textmad.models.protocol import Advance, no_advance
from textmad.recipe import PreferenceSettings, TrainSettings
from textmad.seeds import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Judged(NamedTuple):
    """A document, and whether it was accepted."""

    row: Row  # start token, prompt, what is learned
    accepted: bool


class _Texts(NamedTuple):
    """Documents as examples: a long one has several."""

    examples: list[Example]
    document: list[int]  # of each example
    num: int  # documents


class _Step(NamedTuple):
    """What one optimizer step learns from."""

    texts: _Texts
    accepted: torch.Tensor  # (documents,) bool
    reference: torch.Tensor  # (documents,) log-likelihoods under the reference model
    mismatched: _Texts | None  # of KTO, where prompts differ: texts behind another's prompt
    mismatched_reference: torch.Tensor | None  # their log-likelihoods under the reference model


def prefer(
    model: PreTrainedModel | PeftModel,
    judged: Sequence[Judged],
    settings: TrainSettings,
    *,
    context: int,
    seed: int,
    bfloat16: bool = False,
    advance: Advance = no_advance,
) -> list[dict[str, Any]]:
    """Train `model` in place to prefer accepted documents; return a row for each optimizer step.

    The reference is `model` as it is given. Rows hold `step`, `tokens` (target tokens so far),
    `loss`, `kl` (of KTO, nats), `accepted_gain` and `rejected_gain` (mean log-likelihood above
    the reference's, nats; None where a step has no such document), all before the step,
    `learning_rate` and `grad_norm`.

    Args:
        model: changed in place.
        judged: of DPO the first accepted one and the first rejected one are a pair, and so on.
        settings: with `preference`.
        context: positions of the model.
        seed: of the order of the documents.
        bfloat16: as in `train`.
        advance: told how many tokens are done.

    Raises:
        ModelError: training diverges.
    """
    asked = settings.preference
    assert asked is not None, "called only where the recipe has one"
    own = settings.model_copy(update={"learning_rate": asked.learning_rate, "epochs": asked.epochs})
    network: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    accepted = np.array([document.accepted for document in judged])
    plan = plan_preference_steps(accepted, asked, seed)
    rates = [learning_rate(number, len(plan), own) for number in range(len(plan))]
    curve: list[dict[str, Any]] = []
    measured: list[torch.Tensor] = []
    with training_mode(network, own, dropout=False) as packed:
        learner = Learner(model, network, own, packed=packed, bfloat16=bfloat16)
        steps = _prepared(learner, judged, plan, asked, context)
        for step, rate in zip(steps, rates, strict=True):
            gain = log_likelihoods(learner, step.texts) - step.reference
            kl = _kl(learner, step, gain) if asked.loss == "kto" else 0.0
            loss, slopes = _loss_and_slopes(asked, gain, step.accepted, kl)
            _add_gradients(learner, step.texts, slopes)
            measured.append(torch.stack([loss, learner.move(rate)]))
            num_tokens = sum(example.num_targets for example in step.texts.examples)
            before = curve[-1]["tokens"] if curve else 0
            curve.append({"tokens": before + num_tokens, **_gains(asked, gain, step.accepted, kl)})
            advance(num_tokens)
        after = torch.stack([learner.loss(steps[0].texts.examples[0]), learner.squares()])
    numbers = torch.stack(measured)
    require_finite(numbers, after, rates, own, "train.preference.learning_rate")
    return [
        {"step": number, **row, "loss": loss, "learning_rate": rate, "grad_norm": norm}
        for number, (row, rate, (loss, norm)) in enumerate(
            zip(curve, rates, numbers.tolist(), strict=True)
        )
    ]


def preference_loss(
    settings: PreferenceSettings, gain: torch.Tensor, accepted: torch.Tensor, kl: float = 0.0
) -> torch.Tensor:
    """Return the mean loss of documents, or of pairs, ().

    `gain` is each document's log-likelihood above that under the reference model, nats. With
    b = `beta`, s the logistic function and z the KL term:

    - `kto`: 1 - s(b (gain - z)) where accepted, 1 - s(b (z - gain)) where rejected, times the
      weight of its kind (Ethayarajh et al., 2402.01306, eq. 7);
    - `apo_zero_unpaired`: 1 - s(b gain) where accepted, s(b gain) where rejected, times the same
      (D'Oosterlinck et al., 2408.06266, eq. 7, without pairs);
    - `dpo`: -log s(b (gain of the accepted - gain of the rejected)) of each pair (Rafailov et al.,
      2305.18290, eq. 7).

    >>> gain, accepted = torch.tensor([1.0, -1.0]), torch.tensor([True, False])
    >>> round(float(preference_loss(PreferenceSettings(loss="dpo", beta=0.5), gain, accepted)), 4)
    0.3133

    Args:
        settings: the loss, beta, and the weights.
        gain: (documents,).
        accepted: (documents,); of DPO the first True and the first False are a pair, and so on.
        kl: z, nats; only `kto` has it.
    """
    beta = settings.beta
    if settings.loss == "dpo":
        return -logsigmoid(beta * (gain[accepted] - gain[~accepted])).mean()
    if settings.loss == "kto":
        losses = 1 - sigmoid(beta * torch.where(accepted, gain - kl, kl - gain))
    else:
        losses = 1 - sigmoid(beta * torch.where(accepted, gain, -gain))
    weights = torch.where(accepted, settings.accepted_weight, settings.rejected_weight)
    return (weights * losses).mean()


def plan_preference_steps(
    accepted: np.ndarray, settings: PreferenceSettings, seed: int
) -> list[list[int]]:
    """Choose the documents of each optimizer step, and return their indices by step.

    Each epoch is one shuffled pass over the documents, or over the pairs, in steps of about equal
    size; a fractional last epoch ends after that share of them. The order within a step decides
    whose prompt a text is read behind for the KL term.
    """
    units: list[list[int]] = [[index] for index in range(len(accepted))]
    if settings.loss == "dpo":
        firsts, seconds = np.flatnonzero(accepted), np.flatnonzero(~accepted)
        units = [[int(a), int(r)] for a, r in zip(firsts, seconds, strict=True)]
    steps: list[list[int]] = []
    for epoch in range(math.ceil(settings.epochs)):
        order = stream(seed, "preference", "order", epoch).permutation(len(units))
        share = min(1.0, settings.epochs - epoch)
        order = order[: max(1, round(share * len(units)))]
        num_steps = math.ceil(len(order) / settings.batch_documents)
        for part in np.array_split(order, num_steps):
            steps.append([index for unit in part for index in units[int(unit)]])
    return steps


def log_likelihoods(learner: Learner, texts: _Texts) -> torch.Tensor:
    """Return the log-likelihood of each document, nats, (documents,) float64."""
    totals = torch.zeros(texts.num, dtype=torch.float64, device=learner.device)
    with torch.no_grad():
        for rectangles in _micro_batches(learner, texts):
            batch = learner.batch(texts.examples, rectangles)
            nats = token_nats(learner.logits(batch), batch.labels)
            totals.index_add_(0, _owners(texts, rectangles, learner.device), -nats)
    return parallel.total(totals)


def _prepared(
    learner: Learner,
    judged: Sequence[Judged],
    plan: Sequence[Sequence[int]],
    settings: PreferenceSettings,
    context: int,
) -> list[_Step]:
    """Return the steps with all that the reference model says; the model has not learned yet."""
    rows = [document.row for document in judged]
    reference = log_likelihoods(learner, _texts(rows, context))
    accepted = torch.tensor([document.accepted for document in judged], device=learner.device)
    # With one prompt for all, the mismatched texts are the texts themselves.
    one_prompt = len({row.ids[: row.first].tobytes() for row in rows}) == 1
    steps = []
    for indices in plan:
        own = [rows[index] for index in indices]
        mismatched = None
        if settings.loss == "kto" and not one_prompt:
            mismatched = _texts(_mismatched(own), context)
        steps.append(
            _Step(
                _texts(own, context),
                accepted[list(indices)],
                reference[list(indices)],
                mismatched,
                None if mismatched is None else log_likelihoods(learner, mismatched),
            )
        )
    return steps


def _texts(rows: Sequence[Row], context: int) -> _Texts:
    by_document = [examples_of(row, context) for row in rows]
    document = [number for number, parts in enumerate(by_document) for _ in parts]
    return _Texts([part for parts in by_document for part in parts], document, len(rows))


def _mismatched(rows: Sequence[Row]) -> list[Row]:
    """Return each prompt with the text of the document before it; the first has the last's."""
    texts = [row.ids[row.first :] for row in rows]
    return [
        Row(np.concatenate([row.ids[: row.first], text]), row.first)
        for row, text in zip(rows, [texts[-1], *texts[:-1]], strict=True)
    ]


def _kl(learner: Learner, step: _Step, gain: torch.Tensor) -> float:
    """Estimate KTO's reference point from the step's mismatched texts, at least 0 nats."""
    if step.mismatched is not None and step.mismatched_reference is not None:
        gain = log_likelihoods(learner, step.mismatched) - step.mismatched_reference
    return max(0.0, float(gain.mean()))


def _loss_and_slopes(
    settings: PreferenceSettings, gain: torch.Tensor, accepted: torch.Tensor, kl: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean loss, (), and its derivative by each log-likelihood, (documents,)."""
    gain = gain.detach().requires_grad_()
    loss = preference_loss(settings, gain, accepted, kl)
    (slopes,) = torch.autograd.grad(loss, gain)
    return loss.detach(), slopes


def _add_gradients(learner: Learner, texts: _Texts, slopes: torch.Tensor) -> None:
    """Add up the gradients of the step's mean loss, by the chain rule."""
    plan = _micro_batches(learner, texts)
    for number, rectangles in enumerate(plan):
        batch = learner.batch(texts.examples, rectangles)
        owners = _owners(texts, rectangles, learner.device)
        with learner.exchanging(is_last=number == len(plan) - 1):
            # The loss falls by a token's nats as it rises by its log-likelihood. Processes
            # exchange the mean of their gradients, and the step needs their sum.
            weights = -slopes[owners].float() * processes.world_size()
            torch.autograd.backward(summed_nats(learner.logits(batch), batch.labels, weights))


def _micro_batches(learner: Learner, texts: _Texts) -> list[list[Rectangle]]:
    """Return this process's rows of each forward pass."""
    lengths = [len(example.input_ids) for example in texts.examples]
    plan = micro_batches(lengths, learner.limits, processes.world_size())
    return [rows_by_process[processes.rank()] for rows_by_process in plan]


def _owners(texts: _Texts, rectangles: Sequence[Rectangle], device: torch.device) -> torch.Tensor:
    """Return the document of each target token of a row, (targets,)."""
    examples = [index for rectangle in rectangles for index in rectangle.documents]
    owners = [texts.document[index] for index in examples]
    counts = [texts.examples[index].num_targets for index in examples]
    return torch.from_numpy(np.repeat(np.array(owners, np.int64), counts)).to(device)


def _gains(
    settings: PreferenceSettings, gain: torch.Tensor, accepted: torch.Tensor, kl: float
) -> dict[str, float | None]:
    """Return what the curve says of a step beside its loss."""
    means = {
        f"{name}_gain": float(gain[chosen].mean()) if bool(chosen.any()) else None
        for name, chosen in (("accepted", accepted), ("rejected", ~accepted))
    }
    return {**({"kl": kl} if settings.loss == "kto" else {}), **means}
