"""Give all traffic of a model to one registered version."""
