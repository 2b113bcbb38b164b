"""Make a claim for the run."""
