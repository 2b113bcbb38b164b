"""Samples, their order, and how they are read ahead."""
