"""The base model opened: its weights as a frozen network, and its tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from textmad.errors import ModelError, check_disk
from textmad.models.base_files import base_digest, check_base, whole_base
from textmad.models.causal_lm.number_type import number_type
from textmad.models.causal_lm.runtime import fuse
from textmad.models.causal_lm.tokenization import DocumentTokenizer
from textmad.models.distributed import parallel, processes
from textmad.recipe import ModelSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


_log = logging.getLogger(__name__)
# Settings of transformers' `generate` that change which token is sampled.
_CHANGES_SAMPLING = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens"),
    *("begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "sequence_bias"),
)

OFFLINE = {"trust_remote_code": False, "local_files_only": True}
"""How every file of transformers is opened here: no foreign code, no network."""


class Base(NamedTuple):
    """A base model, opened: shared by every model that is fitted on it and never changed."""

    network: PreTrainedModel  # frozen, in eval mode
    text: DocumentTokenizer
    context: int
    digest: str  # of the files it was opened from
    folder: Path  # with those files
    number_type: str  # float32 or bfloat16: of the weights, and of the products in training

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of whole documents as it was opened."""
        return self.text.backend

    @property
    def start(self) -> int:
        """The id before every document."""
        return self.text.start

    @property
    def end(self) -> int:
        """The id after every finished document."""
        return self.text.end


def open_base(settings: ModelSettings) -> Base:
    """The base model with its tokenizer, frozen, on this process's device.

    Raises:
        ModelError: as `check_base` raises it, or for weights or a tokenizer that cannot be read.
    """
    facts = check_base(settings)
    folder = whole_base(settings)
    text = _open_tokenizer(folder, settings.base)
    kind = number_type(settings)
    network = open_network(folder, kind, settings.base)
    _require_known_attention(network, settings.base)
    _say_what_is_not_used(network, text, settings.base)
    text.check(settings.base, network.get_input_embeddings().weight.shape[0])
    return Base(network, text, facts.context, base_digest(folder), folder, kind)


def _require_known_attention(network: PreTrainedModel, name: str) -> None:
    """Check that the network's attention can be given a cache of fixed size from outside."""
    if not network._supports_attention_backend:
        raise ModelError(
            f"model.base: {name}: {type(network).__name__} brings its own attention, for which "
            "there is no static key-value cache; expected a model that takes transformers' "
            "attention functions, as GPT-2 and Llama do"
        )


def _say_what_is_not_used(network: PreTrainedModel, text: DocumentTokenizer, name: str) -> None:
    """Log settings of generation_config.json that `generate` would obey and a recipe does not."""
    asked = network.generation_config.to_diff_dict() if network.can_generate() else {}
    changing = {key: asked[key] for key in _CHANGES_SAMPLING if asked.get(key) is not None}
    ends = asked.get("eos_token_id")
    if isinstance(ends, list) and set(ends) != {text.end}:
        changing["eos_token_id"] = ends
    if changing:
        _log.warning(
            "%s: generation_config.json has %s: not used; the recipe's sample settings apply, and "
            "a document ends with the token %r alone",
            name,
            ", ".join(f"{key} {value}" for key, value in changing.items()),
            text.backend.id_to_token(text.end),
        )


def open_network(folder: Path, dtype: str, name: str) -> PreTrainedModel:
    """The weights in `folder` as a frozen causal language model on this process's device."""
    parallel.check_launcher()
    try:
        with without_bars():
            network, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),  # or the checkpoint's own would be taken
                use_safetensors=True,
                output_loading_info=True,
                **OFFLINE,
            )
    except Exception as error:  # whatever a damaged file makes a parser raise
        check_disk(folder, error)
        raise ModelError(
            f"model.base: {name}: the weights in {folder} cannot be opened "
            f"({type(error).__name__}: {error}); fetch or save them again"
        ) from error
    lacking = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if lacking:  # transformers would fill them with random numbers
        raise ModelError(
            f"model.base: {name}: the weights in {folder} do not fit config.json: "
            f"{len(lacking)} tensors are missing or of another shape, the first is {lacking[0]}"
        )
    if report["unexpected_keys"]:
        surplus = sorted(report["unexpected_keys"])
        _log.warning(
            "%s: %d tensors of the weights in %s have no place in the model of config.json and "
            "are not used, the first is %s",
            name,
            len(surplus),
            folder,
            surplus[0],
        )
    network.requires_grad_(False)
    fuse(network)
    # Tensors mapped from a file lie at odd addresses, where matrix kernels round differently than
    # at those torch chooses: the same weights would score 5e-7 apart, saved and not saved.
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()
    opened: PreTrainedModel = network.to(processes.device()).eval()
    return opened


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of transformers' own beside textmad's."""
    if not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()


def _open_tokenizer(folder: Path, name: str) -> DocumentTokenizer:
    """Return the tokenizer with its start and end ids; one without a start id uses the end's."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **OFFLINE)
        backend: Tokenizer = tokenizer.backend_tokenizer
    except Exception as error:  # whatever a damaged file makes a parser raise
        check_disk(folder, error)
        raise ModelError(
            f"model.base: {name}: the tokenizer in {folder} cannot be opened "
            f"({type(error).__name__}: {error})"
        ) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model.base: {name}: the tokenizer has no eos_token, so no document could end"
        )
    end = int(tokenizer.eos_token_id)
    start = end if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
    return DocumentTokenizer(backend, start, end, tokenizer.all_special_tokens)
