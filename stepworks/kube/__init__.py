"""Talking to Kubernetes: builders that return data, and the few calls that the areas make."""
