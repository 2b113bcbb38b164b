"""Waiting for objects, by watching them."""
