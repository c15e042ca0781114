"""Placeholder until the lead writes the lazy front door."""
