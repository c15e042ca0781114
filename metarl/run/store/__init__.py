"""Files of a run: written whole or not at all, locked, checked by their sums when read."""
