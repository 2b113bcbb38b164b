"""Running the steps of a pipeline as pods of a cluster that sees the folders of this machine: a test bed."""
