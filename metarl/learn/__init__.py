"""Floor 1: adaptation, meta-learners and meta-optimisers; needs core and torch only."""
