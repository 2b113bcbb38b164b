"""The pre-flight check: whether a cluster can run a pipeline, its own objects included."""
