"""Searching for the best parameters."""
