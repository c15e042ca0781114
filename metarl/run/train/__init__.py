"""A run's life: how it starts, iterates, stops, resumes, and what it saves."""
