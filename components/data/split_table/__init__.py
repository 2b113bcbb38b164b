"""Split a table by time."""
