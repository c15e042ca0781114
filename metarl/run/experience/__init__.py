"""The inner loop of a run: draw, adapt, draw again, for episodes and for labelled examples."""
