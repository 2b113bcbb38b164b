"""Check the cluster before anything else runs."""
