"""Configurations: the options, their checks, their defaults, YAML, and what a stranger's may name."""
