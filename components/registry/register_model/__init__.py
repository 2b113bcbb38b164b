"""Register a packaged model."""
