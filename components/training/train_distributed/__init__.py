"""Train a model in pods of a training job."""
