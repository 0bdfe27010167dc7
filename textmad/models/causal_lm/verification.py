"""Whether a network computes here what it computes in a plain forward pass.

textmad scores texts in batches, trains on several documents in one row, and samples a token at a
time into slots with a cache of its own. Each of these takes for granted that the network is a
plain causal transformer. No setting of a model says so reliably. So every base model is held
against its own plain forward pass on a few tokens before anything is computed with it, and what
differs is an error. It costs some twelve passes over a few tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from textmad.errors import ModelError, RunError
from textmad.models.causal_lm import lora
from textmad.models.causal_lm.batches import Example, Rectangle, collate
from textmad.models.causal_lm.packed_attention import can_pack, packed_logits, packed_rows
from textmad.models.causal_lm.sampling_network import for_sampling
from textmad.models.causal_lm.scoring import Row, score
from textmad.models.sampling.slots import Entry, Slots
from textmad.recipe import LoraSettings, SampleSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput

# Tokens of two documents; a third one is the beginning of the first. Sampled with two slots, the
# third refills the second's slot while the first is still read.
_LENGTHS = (6, 3)
_PREFIX = 3
# Largest difference of log-probabilities that is taken for rounding, relative to their own spread
# (root mean squares over the vocabulary). In float32 plain models differ by some 1e-6, wrong ones
# by 0.01 to 1; bfloat16 has 8 bits, so that a few layers add up to some 0.02.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}

_verified: set[tuple[str, str, str, LoraSettings | None]] = set()


def verify_once(
    network: PreTrainedModel, digest: str, adapter: LoraSettings | None, context: int, name: str
) -> None:
    """Verify a base model unless this process has done so, by its files and how it is used.

    Raises:
        ModelError: as `verify` does.
    """
    key = (digest, str(network.dtype), str(network.device), adapter)
    if key not in _verified:
        verify(network, adapter, context, name)
        _verified.add(key)


@torch.no_grad()
def verify(network: PreTrainedModel, adapter: LoraSettings | None, context: int, name: str) -> None:
    """Hold scoring, training, sampling and adapters against plain forward passes.

    Raises:
        ModelError: the network is not causal, or one of the ways gives other probabilities, or
            fails; the message says what was compared and by how much it differs.
    """
    if adapter is not None:
        with _explained(network, name, f"model.lora on {', '.join(adapter.targets)}"):
            lora.attach(lora.without_values(network), adapter, seed=0)
    documents = _documents(network, context)
    with _explained(network, name, "a plain forward pass"):
        plain = [_log_shares(network, ids) for ids in documents]
    if not all(part.isfinite().all() for part in plain):
        raise ModelError(
            f"model.base: {name}: its own probabilities are not finite on a few tokens: the "
            "weights hold NaN or infinite numbers, or overflow; fetch or save them again"
        )
    compare = _Comparison(network, plain, name)
    first = documents[0]
    compare(
        "a prefix without the tokens that follow it",
        lambda: [plain[-1]],
        hint="tokens are predicted with later ones in view: this is no causal language model",
    )
    compare(
        f"a prefix before a token at position {context - 1}, the last one of the context",
        lambda: [_at_the_last_position(network, first, context)],
        hint="its positions are counted otherwise, or its rotary factors change with the length",
    )
    compare("scoring in batches", lambda: _scored(network, documents, context), targets=documents)
    compare(
        "training on several documents in one row" if can_pack(network) else "training batches",
        lambda: _packed(network, documents),
    )
    compare("sampling with slots and refills", lambda: _sampled(network, documents))


class _Comparison:
    """Log-probabilities of one way of reading the documents beside those of plain passes."""

    def __init__(self, network: PreTrainedModel, plain: list[torch.Tensor], name: str) -> None:
        self.network, self.plain, self.name = network, plain, name

    def __call__(
        self,
        way: str,
        read: Callable[[], list[torch.Tensor]],
        *,
        targets: Sequence[np.ndarray] | None = None,
        hint: str = "its layers do more than the plain causal attention that is known here",
    ) -> None:
        """Compare `read()`, `(time, vocabulary)` a document, or fewer documents or tokens.

        With `targets` only the log-probabilities of the tokens that follow are there, `(time,)`.

        Raises:
            ModelError: they differ by more than rounding, or `read` fails.
        """
        with _explained(self.network, self.name, way):
            values = read()
        tolerance = _TOLERANCE.get(self.network.dtype, max(_TOLERANCE.values()))
        for number, value in enumerate(values):
            plain = self.plain[number]
            spread = plain.std(-1).clamp(min=torch.finfo(torch.float32).eps)
            if targets is not None:
                following = torch.from_numpy(targets[number][1:, None].astype(np.int64))
                plain = plain[:-1].gather(-1, following)
                value = value[:, None]
            difference = (value - plain[: len(value)]).abs()
            relative = difference.square().mean(-1).sqrt() / spread[: len(value)]
            if not bool((relative <= tolerance).all()):
                raise ModelError(
                    f"model.base: {self.name}: {type(self.network).__name__}: {way} gives other "
                    f"probabilities than a plain forward pass, by up to "
                    f"{float(difference.max()):.2g} nats a token: {hint}; use another base model"
                )


@contextmanager
def _explained(network: PreTrainedModel, name: str, way: str) -> Iterator[None]:
    """Turn whatever a network raises inside into a ModelError that says what was tried."""
    try:
        yield
    except ModelError as error:
        if str(error).startswith("model.lora"):  # it says all that is needed
            raise
        why = str(error).removeprefix("model.base: ")
        raise ModelError(f"model.base: {name}: {type(network).__name__}: {way}: {why}") from error
    except RunError:  # about a file
        raise
    except Exception as error:  # any layer may raise anything at a call that it does not expect
        why = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"model.base: {name}: {type(network).__name__}: {way} fails "
            f"({type(error).__name__}: {why}); use another base model"
        ) from error


# --- the ways in which documents are read ---------------------------------------------------


def _documents(network: PreTrainedModel, context: int) -> list[np.ndarray]:
    """Token ids of a few short documents, always the same; padding's own id is one of them."""
    vocabulary = network.get_output_embeddings().weight.shape[0]
    rng = np.random.default_rng(0)
    documents = [rng.integers(vocabulary, size=min(length, context)) for length in _LENGTHS]
    padding = getattr(network.config, "pad_token_id", None)
    if isinstance(padding, int) and 0 <= padding < vocabulary:
        documents[0][min(1, context - 1)] = padding
    return [*documents, documents[0][:_PREFIX]]


def _log_shares(
    network: PreTrainedModel, ids: np.ndarray, positions: np.ndarray | None = None
) -> torch.Tensor:
    """Log-probabilities after each token by one plain forward pass, `(time, vocabulary)` on CPU."""
    given = {} if positions is None else {"position_ids": _on(network, positions)}
    logits = network(input_ids=_on(network, ids), use_cache=False, **given).logits[0]
    shares: torch.Tensor = logits.float().log_softmax(-1).cpu()
    return shares


def _at_the_last_position(network: PreTrainedModel, ids: np.ndarray, context: int) -> torch.Tensor:
    """What the prefix predicts where the token after it stands at the end of the context."""
    positions = np.arange(min(_PREFIX + 1, len(ids)))
    positions[-1] = context - 1
    return _log_shares(network, ids[: len(positions)], positions)[:-1]


def _scored(
    network: PreTrainedModel, documents: Sequence[np.ndarray], context: int
) -> list[torch.Tensor]:
    """Log-probabilities of each document's tokens but the first, `(time - 1,)`."""
    scores = score(network, [Row(ids, first=1) for ids in documents], context)
    return [-torch.from_numpy(nats).float() for nats in scores.nll]


def _packed(network: PreTrainedModel, documents: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Log-probabilities by the passes of training: one row, or rectangles with padding."""
    examples = [Example(ids.astype(np.int64), ids.astype(np.int64)) for ids in documents]
    longer, shorter = len(documents[0]), len(documents[1])
    # Two rectangles, of which the second has a token of padding behind each document.
    rectangles = [Rectangle([0], longer), Rectangle([1, 2], shorter + 1)]
    if can_pack(network):
        with packed_rows(network):
            batch = collate(examples, rectangles, network.device)
            logits = packed_logits(network, batch)
        shares = logits.float().log_softmax(-1).cpu()
        return list(torch.split(shares, [len(ids) for ids in documents]))
    ids = np.full((len(documents), max(map(len, documents))), documents[0][0])
    for row, document in enumerate(documents):
        ids[row, : len(document)] = document
    inputs = torch.from_numpy(ids).to(network.device)
    shares = network(input_ids=inputs, use_cache=False).logits.float().log_softmax(-1).cpu()
    return [shares[row, : len(document)] for row, document in enumerate(documents)]


def _sampled(network: PreTrainedModel, documents: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Log-probabilities by the steps of sampling, the documents fed as prompts to two slots."""
    sampler = for_sampling(network, network.dtype)
    slots = Slots(sampler, SampleSettings(max_new_tokens=1), 2, end=-1, captured=False)
    shares: list[list[torch.Tensor]] = [[] for _ in documents]

    def keep(_network: torch.nn.Module, _inputs: object, output: CausalLMOutput) -> None:
        steps = output.logits[:, -1].float().log_softmax(-1).cpu()
        for turn, step in zip(slots.turn_of_slot, steps, strict=True):
            if turn >= 0:
                shares[turn].append(step)

    handle = sampler.register_forward_hook(keep)
    waiting = [Entry(turn, ids, np.zeros(1)) for turn, ids in enumerate(documents)]
    try:
        while waiting or slots.num_documents:
            room = slots.capacity - slots.num_documents
            if waiting[:room]:
                slots.add(waiting[:room])
                waiting = waiting[room:]
            slots.advance(1)
    finally:
        handle.remove()
    return [torch.stack(steps) for steps in shares]


def _on(network: PreTrainedModel, numbers: np.ndarray) -> torch.Tensor:
    """One row of numbers on the network's device, `(1, time)`."""
    return torch.from_numpy(numbers.astype(np.int64))[None].to(network.device)
