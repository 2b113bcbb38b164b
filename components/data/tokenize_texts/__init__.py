"""Tokenise texts for language models."""
