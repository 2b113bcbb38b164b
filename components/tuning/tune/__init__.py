"""Search for the best parameters of a training."""
