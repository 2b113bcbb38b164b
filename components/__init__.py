"""The steps: one folder a component."""
