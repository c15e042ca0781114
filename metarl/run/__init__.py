"""Floor 2: everything with files, logs and signals, in rooms; imports run from ``use`` down to ``store``."""
