"""A transformers causal LM with a LoRA adapter or full fine-tuning: the model for text."""
