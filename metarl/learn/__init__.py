"""Floor 1: adaptation, meta-learners and meta-optimizers; needs core and torch only."""
