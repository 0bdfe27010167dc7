"""Several processes of one run: who computes what, and how values meet."""
