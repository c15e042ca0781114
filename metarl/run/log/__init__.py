"""Numbers of a run as it goes: metrics.jsonl, its mirrors, progress, curves and the metrics by name."""
