"""Talking to the API server: the cluster, requests, objects, and what it refused."""
