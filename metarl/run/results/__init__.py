"""Measurements read back: evaluations, statistics, groups of runs, comparisons; loads no torch."""
