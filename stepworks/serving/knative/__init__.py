"""Serving the versions of a model as revisions of one InferenceService in Knative mode."""
