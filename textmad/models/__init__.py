"""Language models: the protocol, how a base is opened, and what implements it."""
