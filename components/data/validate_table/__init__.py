"""Check a table against its contract."""
