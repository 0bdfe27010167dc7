"""Train data/tiny-gpt2 from nothing: `make base-model`. The card says what came out."""
