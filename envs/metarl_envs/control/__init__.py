"""Classic control with physical constants as the task."""
