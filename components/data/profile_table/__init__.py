"""Describe what a table holds."""
