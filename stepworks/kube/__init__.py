"""Talking to Kubernetes: builders that return data, and the few calls that steps make."""
