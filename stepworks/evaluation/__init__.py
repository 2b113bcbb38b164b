"""Metrics with intervals, comparison and the gate."""
