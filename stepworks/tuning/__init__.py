"""Searching for the best parameters of a training: by Katib in a cluster, by Optuna on a laptop."""
