"""Delete what the run made."""
