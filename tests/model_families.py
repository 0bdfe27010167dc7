"""Tiny random models of transformers' decoder-only families, and what textmad makes of each.

`python tests/model_families.py` writes the table of docs/models.md. A test holds each row to what
happens when the model is opened.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

POSITIONS, START, END, VOCABULARY = 64, 257, 258, 259  # as of the tokenizer in tiny_models
PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"

OWN_ATTENTION = "brings its own attention"
LATER = "tokens are predicted with later ones in view"
SLOTS = "sampling with slots and refills gives other probabilities"
PACKED = "training on several documents in one row gives other probabilities"
PACKED_FAILS = "training on several documents in one row fails"
NO_CACHE = "have no key-value cache"
CAPPED = "attn_logit_softcapping"
SINKS = "its attention layers use s_aux"
OWN_MASK = "its layers make an attention mask of their own"
LAST = "its positions are counted otherwise"


class Family(NamedTuple):
    """A family and a tiny configuration of it."""

    names: str  # models that a user may know it by
    model_type: str  # of config.json
    rejected: str = ""  # part of the message; empty: it opens, and every number is right
    settings: dict[str, Any] = {}  # noqa: RUF012  (never changed)


GROUPED = {"num_key_value_heads": 2}
EXPERTS = {**GROUPED, "moe_intermediate_size": 32, "num_experts_per_tok": 2}
WINDOW = {**GROUPED, "sliding_window": 32, "head_dim": 8}
BERT = {"pad_token_id": 0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

FAMILIES = (
    Family("GPT-2, DialoGPT, GPT-SW3", "gpt2"),
    Family("GPT-Neo", "gpt_neo", OWN_ATTENTION, {"attention_types": [[["global"], 2]]}),
    Family("GPT-J", "gptj", OWN_ATTENTION),
    Family("GPT-NeoX, Pythia, Dolly", "gpt_neox"),
    Family("StarCoder, SantaCoder", "gpt_bigcode"),
    Family("StarCoder2", "starcoder2", settings=GROUPED),
    Family("CodeGen", "codegen", OWN_ATTENTION),
    Family("OPT, Galactica", "opt", settings={"ffn_dim": 64, "word_embed_proj_dim": 32}),
    Family("BLOOM", "bloom", OWN_ATTENTION),
    Family("MPT", "mpt", OWN_ATTENTION),
    Family("Falcon", "falcon", OWN_ATTENTION),
    Family("XGLM", "xglm", OWN_ATTENTION),
    Family("BioGPT", "biogpt", OWN_ATTENTION),
    Family("GPT (2018)", "openai-gpt", OWN_ATTENTION),
    Family("CTRL", "ctrl"),
    Family("Llama 1 to 3, TinyLlama, SmolLM 1 and 2, Yi, Vicuna", "llama", settings=GROUPED),
    Family("Mistral 7B", "mistral", settings=WINDOW),
    Family("Ministral", "ministral", settings=WINDOW),
    Family("Mixtral", "mixtral", settings={**WINDOW, "num_local_experts": 4}),
    Family("Qwen2, Qwen2.5", "qwen2", settings=GROUPED),
    Family("Qwen1.5-MoE, Qwen2-MoE", "qwen2_moe", settings={**EXPERTS, "num_experts": 4}),
    Family("Qwen3", "qwen3", settings={**GROUPED, "head_dim": 8}),
    Family("Qwen3-MoE", "qwen3_moe", settings={**EXPERTS, "num_experts": 4, "head_dim": 8}),
    Family("Qwen3-Next", "qwen3_next", NO_CACHE, {**EXPERTS, "num_experts": 4}),
    Family("Gemma", "gemma", settings={**GROUPED, "head_dim": 8}),
    Family("Gemma 2", "gemma2", CAPPED, WINDOW),
    Family("Gemma 3 (text)", "gemma3_text", settings=WINDOW),
    Family("RecurrentGemma", "recurrent_gemma", PACKED, {**WINDOW, "attention_window_size": 32}),
    Family("Phi-1, Phi-1.5, Phi-2", "phi", settings=GROUPED),
    Family("Phi-3, Phi-3.5, Phi-4", "phi3", settings={**WINDOW, "pad_token_id": 0}),
    Family("Phi-3.5-MoE", "phimoe", settings={**WINDOW, "num_local_experts": 4}),
    Family("SmolLM3", "smollm3", settings={**GROUPED, "pad_token_id": 0}),
    Family("OLMo", "olmo", settings=GROUPED),
    Family("OLMo 2", "olmo2", settings={**GROUPED, "pad_token_id": 0}),
    Family("OLMo 3", "olmo3", settings={**WINDOW, "pad_token_id": 0}),
    Family("OLMoE", "olmoe", settings={**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
    Family("Granite", "granite", settings=GROUPED),
    Family(
        "Granite MoE",
        "granitemoe",
        settings={**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    Family("Cohere Command R", "cohere", settings={**GROUPED, "pad_token_id": 0}),
    Family("Cohere Command R7B", "cohere2", settings={**WINDOW, "pad_token_id": 0}),
    Family("StableLM", "stablelm", OWN_ATTENTION, GROUPED),
    Family("Nemotron", "nemotron", PACKED_FAILS, {**GROUPED, "head_dim": 8}),
    Family("Persimmon", "persimmon"),
    Family("GLM", "glm", settings={**GROUPED, "head_dim": 8, "pad_token_id": 0}),
    Family("GLM-4", "glm4", settings={**GROUPED, "head_dim": 8, "pad_token_id": 0}),
    Family("Helium", "helium", settings={**GROUPED, "head_dim": 8}),
    Family("ERNIE 4.5", "ernie4_5", settings=GROUPED),
    Family("EXAONE 4", "exaone4", settings=WINDOW),
    Family("Seed-OSS", "seed_oss", settings={**GROUPED, "head_dim": 8}),
    Family("Apertus", "apertus", settings=GROUPED),
    Family("Arcee", "arcee", settings=GROUPED),
    Family("JetMoE", "jetmoe", settings={**GROUPED, "kv_channels": 8, "num_local_experts": 4}),
    Family("Doge", "doge", OWN_MASK, GROUPED),
    Family("gpt-oss", "gpt_oss", SINKS, {**WINDOW, "num_local_experts": 4}),
    Family("Differential Llama", "diffllama", SLOTS, GROUPED),
    Family("HRM", "hrm_text", SLOTS),
    Family("LFM2", "lfm2", NO_CACHE, {**GROUPED, "layer_types": ["conv", "full_attention"]}),
    Family("Mamba", "mamba", OWN_ATTENTION),
    Family("Mamba 2", "mamba2", OWN_ATTENTION, {"num_heads": 8, "head_dim": 8, "n_groups": 1}),
    Family("RWKV", "rwkv", "says neither max_position_embeddings nor n_positions"),
    Family("BERT", "bert", LATER, BERT),
    Family("RoBERTa", "roberta", LATER, {**BERT, "max_position_embeddings": 66}),
    Family("RoBERTa as a decoder", "roberta", LAST, {**BERT, "is_decoder": True}),
    Family("XLM-RoBERTa", "xlm-roberta", LATER, BERT),
    Family("CamemBERT", "camembert", LATER, BERT),
    Family("ELECTRA", "electra", LATER, {**BERT, "embedding_size": 32}),
    Family("ERNIE (2019)", "ernie", LATER, BERT),
    Family("data2vec text", "data2vec-text", LATER, BERT),
    Family("BART's decoder", "bart", OWN_ATTENTION),
)


def build(family: Family) -> PreTrainedModel:
    """A random model whose probabilities are far from uniform, so that every part of it matters."""
    config = AutoConfig.for_model(
        family.model_type,
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": POSITIONS,
            "bos_token_id": START,
            "eos_token_id": END,
            **family.settings,
        },
    )
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config)
    seeded = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.dim() >= 2:
            parameter.data.normal_(0, 0.25, generator=seeded)
    return network


def table() -> str:
    """The rows of docs/models.md."""
    lines = ["| models | `model_type` | |", "| --- | --- | --- |"]
    for family in FAMILIES:
        verdict = f"not supported: {family.rejected}" if family.rejected else "opens"
        lines.append(f"| {family.names} | `{family.model_type}` | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition("| models |")
    if not mark:
        sys.exit(f"{PAGE}: no table to write anew")
    PAGE.write_text(head + table(), encoding="utf-8")


if __name__ == "__main__":
    main()
