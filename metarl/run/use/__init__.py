"""A trained run in the hands of its user: adapt, predict, render, export."""
