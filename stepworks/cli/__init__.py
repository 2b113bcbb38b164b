"""The `stepworks` command."""
