"""Checks of compiled pipelines: what would fail, wait for ever or waste accelerators, found before the upload."""
