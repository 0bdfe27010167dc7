"""Drawing documents from a network: slots, their cache, the choice of a token, watermarks."""
