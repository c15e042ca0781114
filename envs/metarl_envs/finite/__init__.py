"""Families with finitely many states: bandits, chains, tabular MDPs, mazes, and their exact values."""
