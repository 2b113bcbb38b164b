"""Check a packaged model on the real server."""
