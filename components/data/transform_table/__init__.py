"""Encode features for a model."""
