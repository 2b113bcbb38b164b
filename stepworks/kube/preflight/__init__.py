"""Knowing before upload whether a cluster can run a pipeline: what it needs, against what is there."""
