"""Language models: the protocol, how a base model is opened, and what implements it."""
