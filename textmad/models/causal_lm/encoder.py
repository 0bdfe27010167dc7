"""A sentence encoder beside the base model, for evaluators that compare texts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from textmad.errors import ModelError, check_disk
from textmad.models.base_files import base_digest, whole_encoder
from textmad.models.causal_lm.loading import OFFLINE, without_bars
from textmad.models.distributed import processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TOKENS_AT_ONCE = 2**14  # with the padding
_LONGEST = 512  # tokens, where neither the network nor its tokenizer says


class Encoder:
    """A network that reads texts and writes none, such as a sentence encoder.

    Attributes:
        name: under which it was opened.
        digest: of its files.
    """

    def __init__(
        self, name: str, digest: str, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.name, self.digest = name, digest
        self._network, self._tokenizer = network, tokenizer
        positions = getattr(network.config, "max_position_embeddings", _LONGEST)
        self._longest = min(positions, tokenizer.model_max_length)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the mean last hidden state over each text's tokens, `(hidden size,)` float64.

        The tokenizer's own start and end tokens count, as in sentence-transformers' mean pooling;
        what is longer than the encoder's positions is cut.
        """
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self._longest)
        rows = encoded["input_ids"]
        vectors: list[np.ndarray] = [np.empty(0)] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        while order:
            longest = max(len(rows[order[0]]), 1)
            at_once = max(1, _TOKENS_AT_ONCE // longest)
            batch, order = order[:at_once], order[at_once:]
            for index, vector in zip(batch, self._means([rows[i] for i in batch]), strict=True):
                vectors[index] = vector
        return vectors

    def _means(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        ids = np.zeros((len(rows), max(map(len, rows), default=0) or 1), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : max(len(row), 1)] = 1  # a text without tokens gets the padding's state
        device = self._network.device
        given, read = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        states = self._network(input_ids=given, attention_mask=read).last_hidden_state.float()
        totals = (states * read[..., None]).sum(1, dtype=torch.float64)
        means: np.ndarray = (totals / read.sum(1, keepdim=True)).cpu().numpy()
        return means


def open_encoder(name: str) -> Encoder:
    """Open the encoder in a folder or of a Hub id, in float32 on this process's device.

    Raises:
        ModelError: as `whole_encoder` raises it, or for files that are damaged.
        RunError: the disk does not give them.
    """
    folder = whole_encoder(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **OFFLINE)
        return Encoder(name, base_digest(folder), _open(folder), tokenizer)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file makes a parser raise
        check_disk(folder, error)
        raise ModelError(
            f"encoder: {name}: cannot be opened ({type(error).__name__}: {error})"
        ) from error


def _open(folder: Path) -> PreTrainedModel:
    with without_bars():
        network, report = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **OFFLINE
        )
    # transformers fills what is missing with random numbers; a pooler is not asked for.
    lacking = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    lacking += sorted(map(str, report["mismatched_keys"]))
    if lacking:
        raise ModelError(
            f"encoder: {folder}: the weights do not fit config.json: {len(lacking)} "
            f"tensors are missing or of another shape, the first is {lacking[0]}"
        )
    opened: PreTrainedModel = network.requires_grad_(False).to(processes.device()).eval()
    return opened
