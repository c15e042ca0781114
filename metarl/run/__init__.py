"""Floor 2: configurations, training, evaluation and reports: the only place with files, logs and signals."""
