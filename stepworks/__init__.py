"""Stepworks: Kubeflow Pipelines steps and pipelines, and the library that they call."""
