"""Tiny models for the tests, built on the spot: two architectures over one byte-level tokenizer."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

POSITIONS = 64
START, END = 257, 258  # after the 256 bytes and the one merge " t"
VOCABULARY = 259


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: all 256 bytes and a single merge, so that pieces longer than 1 occur."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    vocabulary["Ġt"] = 256
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "t")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=POSITIONS,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=START,
        eos_token_id=END,
        resid_pdrop=0.0,  # as a Llama; also, processes draw their dropout apart
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.3,  # far from uniform, so that every part of it matters
    )
    return GPT2LMHeadModel(config)


def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=START,
        eos_token_id=END,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def save(model: PreTrainedModel, folder: Path) -> Path:
    """The model and its tokenizer as `save_pretrained` writes them."""
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
