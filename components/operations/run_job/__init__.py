"""Run a Kubernetes Job to its end."""
