"""Training loops, checkpoints and models."""
