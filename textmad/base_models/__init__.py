"""How the bundled base model is made, and how a larger one is fetched. No run depends on this."""
