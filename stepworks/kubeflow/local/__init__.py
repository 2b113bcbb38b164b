"""Running a pipeline on this machine through kfp's local runner."""
