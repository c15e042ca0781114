"""Evaluation: the protocol, the baselines, several runs together, and the pictures that are kept."""
