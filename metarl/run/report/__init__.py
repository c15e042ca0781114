"""Pages and figures, from results alone; loads no torch."""
