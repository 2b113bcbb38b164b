"""The pipelines: one module each, which holds its version."""
