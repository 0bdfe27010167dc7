"""What both sides work on: the same documents, the same base model, the same adapter."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path

import numpy as np

from textmad.corpus import Tally, read_rows
from textmad.corpus.cleaning import clean
from textmad.models.base_files import check_base
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import CorpusSettings, LoraSettings, ModelSettings

GPT2_TARGETS = ("c_attn", "c_fc", "c_proj")
LLAMA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA = 16, 32


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
    """Where the files of a base lie, for the plain side."""
    return check_base(ModelSettings(base=base)).folder


def targets_of(base: str) -> tuple[str, ...]:
    """The modules that both sides adapt."""
    is_gpt2 = check_base(ModelSettings(base=base)).model_type == "gpt2"
    return GPT2_TARGETS if is_gpt2 else LLAMA_TARGETS


def our_settings(base: str, dtype: str) -> ModelSettings:
    """The base and its adapter as a recipe has them."""
    lora = LoraSettings(rank=RANK, alpha=ALPHA, targets=targets_of(base))
    return ModelSettings.model_validate({"base": base, "dtype": dtype, "lora": lora})


def our_model(base: str, dtype: str) -> CausalLM:
    """The base, opened by textmad."""
    return CausalLM.open(our_settings(base, dtype))


def endless_copy(base: str, folder: str) -> str:
    """The same model with an end token that it cannot draw: every document has full length."""
    from transformers import AutoTokenizer

    shutil.copytree(base_folder(base), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<|never drawn|>"})
    assert tokenizer.eos_token_id >= check_base(ModelSettings(base=folder)).vocabulary
    tokenizer.save_pretrained(folder)
    return folder
