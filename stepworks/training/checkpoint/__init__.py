"""Checkpoints of a run: what is in them, how they are written, and which one is taken up."""
