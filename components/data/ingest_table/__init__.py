"""Make one table of the source's files."""
