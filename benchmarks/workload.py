"""What both sides work on: the same documents, the same base model, the same adapter."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from textmad.corpus import Tally, read_rows
from textmad.corpus.cleaning import clean
from textmad.models.base_files import check_base
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import CorpusSettings, LoraSettings, ModelSettings

GPT2_TARGETS = ("c_attn", "c_fc", "c_proj")
LLAMA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA = 16, 32
_NEVER = 50.0  # how far an end token that is not to be drawn lies below all others, in logits


def write_documents(source: str, counts: dict[str, int], folder: str) -> dict[str, str]:
    """Clean documents of 8 to 120 words as JSON lines; a file for each name and number.

    No document is in two files, and their order is random under a fixed seed.
    """
    settings = CorpusSettings(source=source)
    cleaned = (clean(row.text) for row in read_rows(settings, Tally()))
    fitting = (t for t in cleaned if settings.min_words <= len(t.split()) <= settings.max_words)
    texts = list(dict.fromkeys(islice(fitting, 2 * sum(counts.values()))))
    order = iter(np.random.default_rng(0).permutation(len(texts)))
    files = {}
    for name, number in counts.items():
        lines = [json.dumps({"text": texts[index]}) for index in islice(order, number)]
        if len(lines) < number:
            raise SystemExit(f"{source}: {len(texts):,} documents, {sum(counts.values()):,} needed")
        path = Path(folder, f"{name}.jsonl")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files[name] = str(path)
    return files


def read_texts(path: str) -> list[str]:
    """The texts of a file that `write_documents` wrote."""
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def lengths(base: str, dtype: str, texts: str) -> tuple[float, float]:
    """Mean length of the documents in tokens, end token included, and mean square of it."""
    tokens = np.array([len(ids) for ids in our_model(base, dtype).encode(read_texts(texts))])
    return float(tokens.mean()), float((tokens.astype(float) ** 2).mean())


def base_folder(base: str) -> Path:
    """Where the files of a base model lie, for the plain side."""
    return check_base(ModelSettings(base=base)).folder


def targets_of(base: str) -> tuple[str, ...]:
    """The modules that both sides adapt."""
    is_gpt2 = check_base(ModelSettings(base=base)).model_type == "gpt2"
    return GPT2_TARGETS if is_gpt2 else LLAMA_TARGETS


def our_settings(base: str, dtype: str) -> ModelSettings:
    """The base model and its adapter as a recipe has them."""
    lora = LoraSettings(rank=RANK, alpha=ALPHA, targets=targets_of(base))
    return ModelSettings.model_validate({"base": base, "dtype": dtype, "lora": lora})


def our_model(base: str, dtype: str) -> CausalLM:
    """The base model, opened by textmad."""
    return CausalLM.open(our_settings(base, dtype))


def endless_copy(base: str, folder: str) -> str:
    """The same model with a new end token that it does not draw: documents have full length.

    Raises:
        SystemExit: no row of the output layer keeps the token from being drawn.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_folder(base))
    network = AutoModelForCausalLM.from_pretrained(base_folder(base), dtype=torch.float32).eval()
    rows = network.get_output_embeddings().weight.shape[0]
    # The new rows' logit: as near to a constant far below all others as a row can bring it.
    ids = torch.randint(rows, (64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = network.base_model(ids).last_hidden_state.flatten(0, 1)
        lowest = network.get_output_embeddings()(states).min()
        new = torch.linalg.lstsq(states, torch.ones(len(states), 1)).solution.T
        new *= lowest - _NEVER
        if (states @ new.T).max() > lowest:
            raise SystemExit(f"{base}: no row keeps the end token from being drawn")
    network.config.tie_word_embeddings = False
    head = network.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    tokenizer.add_special_tokens({"eos_token": "<|never drawn|>"})
    network.resize_token_embeddings(max(rows, len(tokenizer)), pad_to_multiple_of=64)
    with torch.no_grad():
        network.get_output_embeddings().weight[rows:] = new
    network.config.eos_token_id = network.generation_config.eos_token_id = tokenizer.eos_token_id
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
