"""Families in the plane: a point that has to find a goal."""
