"""Documents and plain text: the schema, words, rare types, hashes, near-duplicates. No model."""
