"""Floor 1: families, randomness by address, and the collector; needs core, numpy and gymnasium."""
