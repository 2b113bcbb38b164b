"""Let a model through, or not."""
