"""Floor 0: parameters, batches, models, distributions, returns, rules and objectives; needs torch only."""
