"""A transformers causal LM with a LoRA adapter or full fine-tuning: the model for text."""

from textmad.models.causal_lm.model import CausalLM

__all__ = ["CausalLM"]
