"""Scripts for `evaluate.load`: each wraps the pure functions of one family, and no more."""
