"""Evaluate a model on rows it has not seen."""
