"""Pipelines for Vertex AI. What needs google-cloud-pipeline-components imports it when it is called."""
