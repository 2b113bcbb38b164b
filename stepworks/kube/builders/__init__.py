"""Manifests as pure data, one builder a kind."""
