"""Pieces that families are made of: formulas, rows, draws, arguments; no family of its own."""
